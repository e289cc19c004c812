"""From the PyTorch module to a graph, by torch's own exporter: for every encoder that ``builder`` does not know."""

from typing import cast

import onnx
import torch
from torch.export import Dim

from headrace.errors import SourceUnsupported
from headrace.export.graph import INPUTS, OPSET, OUTPUTS
from headrace.export.pytorch import TextEncoder
from headrace.export.quiet import quiet_libraries


def trace_graph(encoder: TextEncoder, max_tokens: int) -> onnx.ModelProto:
    """Return the graph of a module.

    Args:
        encoder: The module, in inference mode.
        max_tokens: Length of the longest text; the graph takes any from 1 to it.

    Raises:
        SourceUnsupported: The module cannot be exported.
    """
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
                dynamic_shapes=dict.fromkeys(INPUTS, axes),
                input_names=list(INPUTS),
                output_names=list(OUTPUTS["embed"]),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise SourceUnsupported(f"torch {torch.__version__} cannot export this encoder to ONNX") from error
    model = cast("torch.onnx.ONNXProgram", program).model_proto  # None only without dynamo
    _remove_notes(model)
    _rename_clashes(model)
    return model


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
