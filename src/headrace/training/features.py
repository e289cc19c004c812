"""What an encoder that is not changed sees in texts: computed once, by our own kernels where they can."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

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
from headrace.training.tokens import Tokenized

_EXACT: Final[tuple[Precision, ...]] = ("bf16", "int16")  # cosines of 0.9999 with float32, the fastest first


class FeatureReader:
    """Reads the state of the last layer at the first token of each text.

    Args:
        base: Where the encoder comes from.
        model: The same encoder in PyTorch, for what our kernels do not compute.
        compute: Where that computes.
    """

    def __init__(self, base: Checkpoint, model: PreTrainedModel, compute: Compute) -> None:
        self._model = model
        self._compute = compute
        self._kernels = _load_kernels(base) if compute.device.type == "cpu" else None

    def read(self, texts: Tokenized) -> Tensor:
        """Return the states, shape ``(n, hidden)``, float32, on the device."""
        features = torch.zeros(len(texts.ids), int(self._model.config.hidden_size))
        for rows in in_order(texts.lengths):
            states = self._read_natively(texts, rows) if self._kernels else self._read_by_torch(texts, rows)
            features[torch.from_numpy(rows)] = states
        return features.to(self._compute.device)

    def _read_natively(self, texts: Tokenized, rows: np.ndarray) -> Tensor:
        some = [texts.ids[row] for row in rows]
        mask = (np.arange(max(map(len, some))) < np.array([len(ids) for ids in some])[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask == 1] = np.concatenate(some)
        found = self._kernels.run(TokenBatch(input_ids=ids, attention_mask=mask))  # type: ignore[union-attr]
        return torch.from_numpy(found["embedding"] * found["norm"][:, None])

    @torch.inference_mode()
    def _read_by_torch(self, texts: Tokenized, rows: np.ndarray) -> Tensor:
        was_training = self._model.training
        self._model.eval()
        with self._compute.reduced():
            states = self._model.base_model(**texts.inputs(rows, self._model)).last_hidden_state  # (b, s, hidden)
        self._model.train(was_training)
        return states[:, 0].float().cpu().clone()  # type: ignore[no-any-return]


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
