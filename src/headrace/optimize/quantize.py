"""Graphs with 8-bit integers: made by ONNX Runtime's quantizer, or for its product of blocks."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from tokenizers import Tokenizer

from headrace.engine.agreement import cosine_of
from headrace.engine.base import TokenBatch
from headrace.engine.initializers import ENCODER
from headrace.engine.onnx import OnnxBackend
from headrace.errors import DataUnfit
from headrace.models.folder import ModelFolder
from headrace.optimize.blocks import quantize_blocks
from headrace.optimize.variants import Method

_PIECES: Final = 64
_PIECE_TOKENS: Final = 64
_LEAST_PIECES: Final = 4
_BESIDE: Final = 8
# Weights of 7 bits: without VNNI, two products of 8 bits overflow the 16 that their sum has.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8
_OPTIONS: Final[dict[str, Any]] = {
    "per_channel": True,
    "reduce_range": True,
    "weight_type": QuantType.QInt8,
    "extra_options": {"MatMulConstBOnly": True},  # weights, not the products of attention
}
_OPERATORS: Final = ["MatMul", "Gemm"]

Pieces = NDArray[np.int64]
"""Ids of equally long parts of texts, shape ``(n, 64)`` or shorter."""


def cut_pieces(folder: ModelFolder, texts: Sequence[str]) -> Pieces:
    """Return parts of texts to find scales with; all have the same length, as the quantizer needs them.

    Raises:
        DataUnfit: There is too little text.
    """
    tokenizer = Tokenizer.from_file(str(folder.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    length = min(_PIECE_TOKENS, folder.manifest.max_tokens)
    ids = [one for text in texts for one in tokenizer.encode(text, add_special_tokens=False).ids]
    inner = length - special
    bodies = [ids[start : start + inner] for start in range(0, len(ids) - inner + 1, inner)][:_PIECES]
    if len(bodies) < _LEAST_PIECES:
        raise DataUnfit(
            f"{len(ids):,} tokens are too few to find the scales of integers with; give {_LEAST_PIECES * inner:,} or"
            " more in a file with --data"
        )
    frame = tokenizer.encode("").ids  # the special tokens alone: what is before the text, and what is after it
    before = frame[: (special + 1) // 2]
    return np.array([[*before, *body, *frame[len(before) :]] for body in bodies], np.int64)


def quantize(method: Method, folder: ModelFolder, pieces: Pieces, target: Path) -> None:
    """Write a model's graph with 8-bit integers.

    Args:
        method: How.
        folder: The model, in float32.
        pieces: What scales are found with.
        target: The file to write.
    """
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        named = Path(scratch) / "model.onnx"
        model = onnx.load(str(folder.graph))
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}-{number}"  # by which the quantizer tells them apart
        onnx.save(model, str(named))
        if method == "int8-blocks":
            quantize_blocks(model)
            onnx.save(model, str(target))
        elif method == "int8-dynamic":
            quantize_dynamic(named, target, op_types_to_quantize=_OPERATORS, **_OPTIONS)
        else:
            quantize_static(
                named,
                target,
                _Reader(model, pieces),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                op_types_to_quantize=_OPERATORS,
                **_OPTIONS,
            )
    made = onnx.load(str(target))
    kept = [note for note in made.metadata_props if note.key != ENCODER]  # it holds for weights of float32 only
    del made.metadata_props[:]
    made.metadata_props.extend(kept)
    target.write_bytes(made.SerializeToString(deterministic=True))


def measure_independence(graph: Path, pieces: Pieces, threads: int) -> float:
    """Return the least cosine between what a graph gives for a text alone and beside others; 1 if it is the same."""
    backend = OnnxBackend(graph, threads)
    try:
        some = pieces[:_BESIDE]
        name, together = next(iter(backend.run(_batch(some)).items()))
        alone = [backend.run(_batch(one[None]))[name][0] for one in some]
    finally:
        backend.close()
    return min(cosine_of(name, left, right) for left, right in zip(together, alone, strict=True))


def _batch(ids: Pieces) -> TokenBatch:
    return TokenBatch(input_ids=ids, attention_mask=np.ones_like(ids))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Gives the quantizer one piece after another."""

    def __init__(self, model: onnx.ModelProto, pieces: Pieces) -> None:
        self._names = [value.name for value in model.graph.input]
        self._pieces: Iterator[Pieces] = iter(pieces[:, None, :])

    def get_next(self) -> dict[str, Pieces] | None:
        """Return the inputs of one piece, nothing after the last."""
        piece = next(self._pieces, None)
        if piece is None:
            return None
        inputs = {"input_ids": piece, "attention_mask": np.ones_like(piece), "token_type_ids": np.zeros_like(piece)}
        return {name: inputs[name] for name in self._names}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the quantizer advises: to simplify the graph before, which ours needs not."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
