"""Weights as 8-bit integers with a scale for each block of 32: operators of ONNX Runtime.

What is computed with them is float32, so that nothing of one text depends on another. One great number spoils 31
others instead of a whole column: that is what the quantizer's own methods lose by. The package has a quantizer for this
too; it needs two packages more, and does the same.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

BLOCK: Final = 32  # the least that the operator takes by its specification is 16; smaller is no faster, and no better
_DOMAIN: Final = "com.microsoft"
_BITS: Final = 8
_MOST: Final = 127
_ZERO: Final = 128  # of 8 bits without a sign, where nothing else is said
# 1: multiply floats. With 4 the rows become integers as well, which is faster by a quarter and three times as far off:
# a head on frozen features lost 0.7 % of its accuracy by it, and 98.2 % of its labels were the same.
# https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
_ACCURACY_LEVEL: Final = 1
_MATRIX: Final = 2  # axes


def quantize_blocks(model: onnx.ModelProto) -> None:
    """Quantize each matrix that a graph multiplies by, and each table that it looks rows up in, in place."""
    graph = model.graph
    matrices = {each.name: each for each in graph.initializer if len(each.dims) == _MATRIX}
    made: dict[str, onnx.TensorProto] = {}
    nodes = [_quantized(node, matrices, made) or node for node in graph.node]
    used = {name for node in nodes for name in node.input}
    kept = [each for each in (*graph.initializer, *made.values()) if each.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    if _DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _quantized(
    node: onnx.NodeProto, matrices: dict[str, onnx.TensorProto], made: dict[str, onnx.TensorProto]
) -> onnx.NodeProto | None:
    """Return what stands for a node, and add its weights to those that were made; nothing if it stays as it is."""
    if node.op_type == "MatMul" and node.input[1] in matrices:
        name = node.input[1]
        weights = numpy_helper.to_array(matrices[name]).astype(np.float32)
        depth, columns = weights.shape
        inputs = [node.input[0], *_add(name, *split(weights), made)]
        return _operator("MatMulNBits", node, inputs, K=depth, N=columns, accuracy_level=_ACCURACY_LEVEL)
    is_lookup = node.op_type == "Gather" and not any(each.name == "axis" and each.i for each in node.attribute)
    if is_lookup and node.input[0] in matrices and matrices[node.input[0]].dims[1] % BLOCK == 0:
        name = node.input[0]
        integers, scales = split(numpy_helper.to_array(matrices[name]).astype(np.float32).T)
        table, steps = _add(name, integers.reshape(len(integers), -1), scales, made)
        return _operator("GatherBlockQuantized", node, [table, node.input[1], steps], gather_axis=0, quantize_axis=1)
    return None


def _add(
    name: str, integers: NDArray[np.uint8], scales: NDArray[np.float32], made: dict[str, onnx.TensorProto]
) -> tuple[str, str]:
    """Add two tensors to those that were made, unless another node has them too; returns their names."""
    names = (f"{name}_q8_{integers.ndim}", f"{name}_scales_{integers.ndim}")
    made.setdefault(names[0], numpy_helper.from_array(integers, names[0]))
    made.setdefault(names[1], numpy_helper.from_array(scales, names[1]))
    return names


def _operator(kind: str, node: onnx.NodeProto, inputs: Sequence[str], **more: int) -> onnx.NodeProto:
    made = helper.make_node(kind, inputs, node.output, name=node.name, domain=_DOMAIN)
    numbers = {"bits": _BITS, "block_size": BLOCK, **more}
    made.attribute.extend(helper.make_attribute(name, value) for name, value in numbers.items())
    return made


def split(weights: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return integers of shape ``(columns, blocks, 32)`` and their scales, of shape ``(columns, blocks)``.

    Args:
        weights: Shape ``(depth, columns)``; the last block is filled up with zeros.
    """
    depth, columns = weights.shape
    blocks = -(-depth // BLOCK)
    padded = np.zeros((columns, blocks * BLOCK), np.float32)
    padded[:, :depth] = weights.T
    rows = padded.reshape(columns, blocks, BLOCK)
    scales = np.abs(rows).max(axis=2) / _MOST
    steps = rows / np.where(scales > 0, scales, 1)[..., None]
    return (np.rint(steps) + _ZERO).astype(np.uint8), scales.astype(np.float32)
