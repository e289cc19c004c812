"""What an encoder that is not changed sees in texts: computed once, by our own kernels where they can."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from headrace.engine.base import TokenBatch
from headrace.engine.native import NativeBackend, NativeModel
from headrace.engine.plan import Precision, installed_runtimes, precisions
from headrace.errors import RuntimeUnfit, SourceInvalid, SourceUnsupported
from headrace.export.builder import build_graph
from headrace.export.families import read_encoder
from headrace.export.tensors import read_tensors
from headrace.machine import read_machine
from headrace.models.checkpoint import Checkpoint
from headrace.models.folder import GRAPH
from headrace.models.weights import WEIGHTS
from headrace.training.batches import in_order
from headrace.training.device import Compute
from headrace.training.encoders import load_body
from headrace.training.tokens import Tokenized

_EXACT: Final[tuple[Precision, ...]] = ("bf16", "int16")  # cosines of 0.9999 with float32, the fastest first


class FeatureReader:
    """Reads the state of the last layer at the first token of each text.

    Args:
        base: Where the encoder comes from.
        compute: Where PyTorch computes what our kernels do not.
    """

    def __init__(self, base: Checkpoint, compute: Compute) -> None:
        """Load the encoder.

        Raises:
            SourceInvalid: It is not whole.
            SourceUnsupported: This version of transformers cannot load it.
        """
        self._compute = compute
        self._kernels = _load_kernels(base) if compute.device.type == "cpu" else None
        self._model = None if self._kernels else load_body(base, compute.device)

    def read(self, texts: Tokenized) -> Tensor:
        """Return the states, shape ``(n, hidden)``, float32, on the device."""
        parts = in_order(texts.lengths)
        read = self._read_natively if self._kernels else self._read_by_torch
        states = torch.cat([read(texts, rows) for rows in parts])  # (n, hidden), in the order of the parts
        return states[torch.from_numpy(np.argsort(np.concatenate(parts)))].to(self._compute.device)

    def _read_natively(self, texts: Tokenized, rows: np.ndarray) -> Tensor:
        some = [texts.ids[row] for row in rows]
        mask = (np.arange(max(map(len, some))) < np.array([len(ids) for ids in some])[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask == 1] = np.concatenate(some)
        found = self._kernels.run(TokenBatch(input_ids=ids, attention_mask=mask))  # type: ignore[union-attr]
        return torch.from_numpy(found["embedding"] * found["norm"][:, None])

    @torch.inference_mode()
    def _read_by_torch(self, texts: Tokenized, rows: np.ndarray) -> Tensor:
        model = self._model
        with self._compute.reduced():
            states = model(**texts.inputs(rows, model)).last_hidden_state  # type: ignore[arg-type,misc]  # (b, s, hidden)
        return states[:, 0].float().cpu()  # type: ignore[no-any-return]


def _load_kernels(base: Checkpoint) -> NativeBackend | None:
    """Return the encoder as our kernels compute it; nothing if this processor or this encoder is none of theirs."""
    machine = read_machine()
    known = precisions("native", machine) if "native" in installed_runtimes() else ()
    precision = next((each for each in _EXACT if each in known), None)
    if precision is None:
        return None
    try:
        encoder = read_encoder(base.config, read_tensors(base.folder / WEIGHTS), base.max_tokens)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / GRAPH
            path.write_bytes(build_graph(encoder, "cls").SerializeToString())
            return NativeModel(path, machine.threads, precision).session()
    except (RuntimeUnfit, SourceInvalid, SourceUnsupported):  # PyTorch says what is wrong, if anything is
        return None
