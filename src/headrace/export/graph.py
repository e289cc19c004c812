"""One ONNX file that needs nothing beside it: what it must be, checked before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx

from headrace.engine.base import PER_TOKEN, TYPES
from headrace.errors import SourceUnsupported
from headrace.models.manifest import Precision, Tensor
from headrace.types import PAIRED, ModelTask

OPSET: Final = 20
"""The first with Gelu as one operator, which runtimes run as one kernel; older ones spell it out in five."""

INPUTS: Final = ("input_ids", "attention_mask")
OUTPUTS: Final[Mapping[ModelTask, tuple[str, ...]]] = {
    "answer": ("token_logits",),
    "classify": ("logits",),
    "embed": ("embedding", "norm"),
    "extract": ("token_logits",),
    "fill": ("token_states",),
    "regress": ("logits",),
    "rerank": ("logits",),
    "zeroshot": ("logits",),
}
_QUANTIZED: Final = frozenset(
    {"DequantizeLinear", "GatherBlockQuantized", "MatMulInteger", "MatMulNBits", "QLinearMatMul"}
)
_MAX_FILE_BYTES: Final = (2 << 30) - 1  # protobuf's limit; larger weights would have to lie beside the graph
_DTYPES: Final[dict[int, Literal["int64", "float32"]]] = {
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What an exported file takes and gives.

    Attributes:
        precision: What its weights are in.
    """

    opset: int
    precision: Precision
    dimensions: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def write_graph(model: onnx.ModelProto, task: ModelTask, target: Path) -> Graph:
    """Check the graph of a task and write it.

    Raises:
        SourceUnsupported: It is too large for one file, no valid ONNX, or not as the manifest promises.
    """
    if model.ByteSize() > _MAX_FILE_BYTES:
        raise SourceUnsupported(f"the graph has {model.ByteSize()} bytes; one file holds at most {_MAX_FILE_BYTES}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise SourceUnsupported("the exporter made a graph that is not valid ONNX; try other versions of it") from error
    graph = _describe(model, task)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return graph


def _describe(model: onnx.ModelProto, task: ModelTask) -> Graph:
    """Read the graph's inputs and outputs back from the file, and hold them against what serving relies on."""
    inputs = tuple(_read_tensor(value) for value in model.graph.input)
    outputs = tuple(_read_tensor(value) for value in model.graph.output)
    dimensions = outputs[0].shape[-1]
    names = (*INPUTS, TYPES) if task in PAIRED and len(inputs) > len(INPUTS) else INPUTS
    expected_in = tuple(Tensor(name=name, dtype="int64", shape=("batch", "length")) for name in names)
    # The first output has a row for each text or token, of which the manifest has the length; a further one a number.
    rows = ("batch", "length") if OUTPUTS[task][0].startswith(PER_TOKEN) else ("batch",)
    shapes: tuple[tuple[int | str, ...], ...] = ((*rows, dimensions), ("batch",))
    expected_out = tuple(
        Tensor(name=name, dtype="float32", shape=shape) for name, shape in zip(OUTPUTS[task], shapes, strict=False)
    )
    if inputs != expected_in or outputs != expected_out or not isinstance(dimensions, int):
        raise SourceUnsupported(f"the exporter made a graph with {inputs} and {outputs}; try other versions of it")
    opset = next(each.version for each in model.opset_import if not each.domain)
    return Graph(
        opset=opset, precision=_find_precision(model.graph), dimensions=dimensions, inputs=inputs, outputs=outputs
    )


def _find_precision(graph: onnx.GraphProto) -> Precision:
    if any(node.op_type in _QUANTIZED for node in graph.node):
        return "quantized"
    is_half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    return "fp16" if is_half else "fp32"


def _read_tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(axis.dim_param or axis.dim_value for axis in kind.shape.dim)
    try:
        return Tensor(name=value.name, dtype=_DTYPES[kind.elem_type], shape=shape)
    except KeyError as error:
        raise SourceUnsupported(f"{value.name!r} has the ONNX type {kind.elem_type}; try other versions") from error
