import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from headrace.optimize.blocks import BLOCK, quantize_blocks, split

weights = arrays(np.float32, st.tuples(st.integers(1, 70), st.integers(1, 5)), elements=st.floats(-1e3, 1e3, width=32))


@given(weights)
def test_no_number_is_off_by_more_than_half_a_step_of_its_block(matrix: np.ndarray):
    integers, scales = split(matrix)
    depth, columns = matrix.shape
    assert (integers.shape, scales.shape) == ((columns, -(-depth // BLOCK), BLOCK), integers.shape[:2])
    back = ((integers.astype(np.float64) - 128) * scales[..., None]).reshape(columns, -1)
    assert (back[:, depth:] == 0).all()
    off = np.abs(back[:, :depth].T - matrix)
    steps = np.repeat(scales, BLOCK, axis=1)[:, :depth].T
    assert (off <= steps * 0.5001 + 1e-40).all()  # what is less has no step that a float could be


def graph_of(matrix: np.ndarray, *, count: int = 1) -> onnx.ModelProto:
    """Return a graph that multiplies by a matrix, some times, and adds a table of which rows are looked up."""
    depth = len(matrix)
    nodes = [helper.make_node("MatMul", ["x", "w"], [f"y{number}"], name=f"p{number}") for number in range(count)]
    nodes.append(helper.make_node("MatMul", ["x", "z"], ["other"], name="of two inputs"))
    nodes.append(helper.make_node("Gather", ["table", "rows"], ["looked up"], name="g"))
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", depth]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [depth, 2]),
        helper.make_tensor_value_info("rows", TensorProto.INT64, [1]),
    ]
    names = [*(f"y{number}" for number in range(count)), "other", "looked up"]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    tables = [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(matrix, "table")]
    made = helper.make_graph(nodes, "g", inputs, outputs, tables)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("shape", [(64, 24), (50, 7), (384, 96)])
def test_products_are_nearly_the_same(shape: tuple[int, int]):
    random = np.random.default_rng(3)
    matrix, rows = (random.standard_normal(each, np.float32) for each in (shape, (9, shape[0])))
    model = graph_of(matrix)
    quantize_blocks(model)
    fed = {"x": rows, "z": np.zeros((shape[0], 2), np.float32), "rows": np.array([0])}
    found, other, looked_up = InferenceSession(model.SerializeToString()).run(None, fed)
    wanted = rows @ matrix
    cosine = (found * wanted).sum() / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine > 0.9998
    assert other.shape == (9, 2)
    assert np.abs(looked_up - matrix[0]).max() <= (0 if shape[1] % BLOCK else np.abs(matrix[0]).max() / 254 + 1e-6)


@pytest.mark.parametrize(
    ("columns", "lookup", "tensors"),
    [
        (4, "Gather", ["table", "w_q8_3", "w_scales_3"]),  # rows that are no whole blocks stay
        (32, "GatherBlockQuantized", ["table_q8_2", "table_scales_2", "w_q8_3", "w_scales_3"]),
    ],
)
def test_what_is_multiplied_by_or_looked_up_is_quantized_and_once(columns: int, lookup: str, tensors: list[str]):
    model = graph_of(np.ones((32, columns), np.float32), count=2)
    quantize_blocks(model)
    assert [node.op_type for node in model.graph.node] == ["MatMulNBits", "MatMulNBits", "MatMul", lookup]
    assert sorted(each.name for each in model.graph.initializer) == tensors
    InferenceSession(model.SerializeToString())
