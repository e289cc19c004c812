from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from tests.unit.export.graphs import make_model

from headrace.errors import SourceUnsupported
from headrace.export import graph as module
from headrace.export.graph import write_graph


@pytest.mark.parametrize(
    "make",
    [
        make_model,
        lambda: make_model(dtype=TensorProto.DOUBLE),
        lambda: make_model(names=("norm", "embedding_2")),
    ],
)
def test_a_graph_that_is_not_as_serving_needs_it_is_refused(tmp_path: Path, make: Callable[[], onnx.ModelProto]):
    with pytest.raises(SourceUnsupported, match="other versions"):
        write_graph(make(), "embed", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_graph_that_is_no_onnx_is_refused(tmp_path: Path):
    broken = make_model()
    broken.graph.node[2].op_type = "NoSuchOperator"
    with pytest.raises(SourceUnsupported, match="not valid ONNX"):
        write_graph(broken, "embed", tmp_path / "model.onnx")


def test_a_graph_too_large_for_one_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "_MAX_FILE_BYTES", 10)
    with pytest.raises(SourceUnsupported, match="one file holds at most 10"):
        write_graph(make_model(), "embed", tmp_path / "model.onnx")
