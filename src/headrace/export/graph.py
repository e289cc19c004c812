"""From the PyTorch module to one ONNX file that needs nothing beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

import onnx
import torch
from torch.export import Dim

from headrace.errors import SourceUnsupported
from headrace.export.encoder import TextEncoder, quiet_libraries
from headrace.models.manifest import Tensor

OPSET: Final = 20
"""The first with Gelu as one operator, which runtimes run as one kernel; older ones spell it out in five."""

_INPUTS: Final = ("input_ids", "attention_mask")
_OUTPUTS: Final = ("embedding", "norm")
_MAX_FILE_BYTES: Final = (2 << 30) - 1  # protobuf's limit; larger weights would have to lie beside the graph
_DTYPES: Final[dict[int, Literal["int64", "float32"]]] = {
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What an exported file takes and gives."""

    opset: int
    dimensions: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def export_graph(encoder: TextEncoder, max_tokens: int, target: Path) -> Graph:
    """Export the module, check the result, and write it.

    Args:
        encoder: The module, in inference mode.
        max_tokens: Length of the longest text; the graph takes any from 1 to it.
        target: The file to write.

    Raises:
        SourceUnsupported: The module cannot be exported, or the graph is not as the manifest promises.
    """
    model = _trace(encoder, max_tokens)
    _remove_notes(model)
    _rename_clashes(model)
    if model.ByteSize() > _MAX_FILE_BYTES:
        raise SourceUnsupported(f"the graph has {model.ByteSize()} bytes; one file holds at most {_MAX_FILE_BYTES}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise SourceUnsupported("the exporter made a graph that is not valid ONNX; try other versions of it") from error
    graph = _describe(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return graph


def _trace(encoder: TextEncoder, max_tokens: int) -> onnx.ModelProto:
    length = min(max_tokens, 16)
    ids = torch.ones(2, length, dtype=torch.int64)  # neither axis is 1, which the tracer would take for a constant
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0  # padding, so that no branch for a full mask is traced
    axes = {0: Dim("batch", min=1), 1: Dim("length", min=1, max=max_tokens)}
    try:
        with quiet_libraries(), torch.inference_mode():
            program = torch.onnx.export(
                encoder,
                (ids, mask),
                dynamo=True,
                dynamic_shapes=dict.fromkeys(_INPUTS, axes),
                input_names=list(_INPUTS),
                output_names=list(_OUTPUTS),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise SourceUnsupported(f"torch {torch.__version__} cannot export this encoder to ONNX") from error
    return cast("torch.onnx.ONNXProgram", program).model_proto  # None only without dynamo


def _remove_notes(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted: stack traces and sizes, which change from run to run and double the graph."""
    graph = model.graph
    del graph.value_info[:]
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graph.name = "headrace"


def _rename_clashes(model: onnx.ModelProto) -> None:
    """Rename inner values that bear the name of an output.

    The exporter calls a value after the function that made it, so the word vectors, which come out of
    ``torch.nn.functional.embedding``, have the name of our output; ONNX Runtime refuses such a file ("Duplicate
    definition of name").
    """
    last = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    clashing = {value.name for value in model.graph.output}
    renamed: dict[str, str] = {}
    for index, node in enumerate(model.graph.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        for place, name in enumerate(node.output):
            renamed.pop(name, None)
            if name in clashing and last[name] != index:
                renamed[name] = node.output[place] = f"inner_{name}_{index}"


def _describe(model: onnx.ModelProto) -> Graph:
    """Read the graph's inputs and outputs back from the file, and hold them against what serving relies on."""
    inputs = tuple(_read_tensor(value) for value in model.graph.input)
    outputs = tuple(_read_tensor(value) for value in model.graph.output)
    dimensions = outputs[0].shape[-1]
    expected_in = tuple(Tensor(name=name, dtype="int64", shape=("batch", "length")) for name in _INPUTS)
    expected_out = (
        Tensor(name="embedding", dtype="float32", shape=("batch", dimensions)),
        Tensor(name="norm", dtype="float32", shape=("batch",)),
    )
    if inputs != expected_in or outputs != expected_out or not isinstance(dimensions, int):
        raise SourceUnsupported(f"the exporter made a graph with {inputs} and {outputs}; try other versions of it")
    return Graph(opset=OPSET, dimensions=dimensions, inputs=inputs, outputs=outputs)


def _read_tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(axis.dim_param or axis.dim_value for axis in kind.shape.dim)
    try:
        return Tensor(name=value.name, dtype=_DTYPES[kind.elem_type], shape=shape)
    except KeyError as error:
        raise SourceUnsupported(f"{value.name!r} has the ONNX type {kind.elem_type}; try other versions") from error
