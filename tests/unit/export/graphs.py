"""Graphs made by hand."""

import onnx
from onnx import TensorProto, helper

from headrace.export.graph import INPUTS, OPSET


def make_model(*, dtype: int = TensorProto.FLOAT, names: tuple[str, str] = ("embedding", "norm")) -> onnx.ModelProto:
    """Return a graph with a value named ``embedding`` inside, read before and after the output of that name."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["embedding"], to=dtype),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=dtype),
        helper.make_node("Add", ["embedding", "mask"], ["sum"]),
        helper.make_node("Mul", ["sum", "embedding"], [names[0]]),
        helper.make_node("ReduceSum", [names[0], "axis"], [names[1]], keepdims=0),
    ]
    shapes: tuple[list[str | int | None], ...] = (["batch", 4], ["batch"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", 4]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in zip(names, shapes, strict=True)]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "test", inputs, outputs, [axis])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
