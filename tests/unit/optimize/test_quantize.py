from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.unit.optimize.conftest import TEXTS

from headrace.engine.initializers import ENCODER, read_initializers
from headrace.engine.native import NativeModel
from headrace.errors import DataUnfit, RuntimeUnfit
from headrace.models.folder import ModelFolder
from headrace.optimize.quantize import cut_pieces, measure_independence, quantize
from headrace.optimize.variants import Method


def test_pieces_have_one_length_and_look_like_texts(folder: ModelFolder):
    pieces = cut_pieces(folder, TEXTS)
    assert pieces.shape[1] == 64
    assert (pieces[:, 0] == 2).all()  # [CLS]
    assert (pieces[:, -1] == 3).all()  # [SEP]
    assert not np.isin(pieces[:, 1:-1], (0, 2, 3)).any()


def test_too_little_text_is_refused_with_what_is_needed(folder: ModelFolder):
    with pytest.raises(DataUnfit, match=r"3 tokens are too few .* give 248 or more"):
        cut_pieces(folder, ["w1 w2 w3"])


@pytest.mark.parametrize(
    ("method", "is_independent"), [("int8-blocks", True), ("int8-static", True), ("int8-dynamic", False)]
)
def test_whether_answers_depend_on_their_neighbours_is_measured(
    folder: ModelFolder, tmp_path: Path, method: Method, is_independent: bool
):
    pieces = cut_pieces(folder, TEXTS)
    target = tmp_path / "quantized.onnx"
    quantize(method, folder, pieces, target)
    assert (measure_independence(target, pieces, threads=1) > 0.999999) is is_independent
    assert measure_independence(folder.graph, pieces, threads=1) > 0.999999


@pytest.mark.parametrize(("method", "kind"), [("int8-static", "DequantizeLinear"), ("int8-blocks", "MatMulNBits")])
def test_a_quantized_graph_is_left_to_the_runtime_that_reads_it(
    folder: ModelFolder, tmp_path: Path, method: Method, kind: str
):
    target = tmp_path / "quantized.onnx"
    quantize(method, folder, cut_pieces(folder, TEXTS), target)
    assert ENCODER in read_initializers(folder.graph).notes
    assert ENCODER not in read_initializers(target).notes
    assert any(node.op_type == kind for node in onnx.load(target).graph.node)
    with pytest.raises(RuntimeUnfit):
        NativeModel(target, 1, "fp32").session()


@pytest.mark.parametrize("method", ["int8-blocks", "int8-static"])
def test_the_same_texts_give_the_same_graph(folder: ModelFolder, tmp_path: Path, method: Method):
    pieces = cut_pieces(folder, TEXTS)
    for name in ("one", "two"):
        quantize(method, folder, pieces, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
