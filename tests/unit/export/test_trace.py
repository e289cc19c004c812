from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from tests.unit.export.graphs import make_model

from headrace.errors import SourceUnsupported
from headrace.export import trace as module
from headrace.export.builder import build_graph
from headrace.export.families import read_encoder
from headrace.export.graph import OPSET, Graph, write_graph
from headrace.export.pytorch import TextEncoder
from headrace.export.trace import trace_graph

pytestmark = pytest.mark.xdist_group("trace")  # on one worker, so that each graph is traced once

Exported = tuple[Graph, Path]
Make = Callable[[TextEncoder, int], onnx.ModelProto]


@pytest.fixture(scope="module", params=["mean", "cls", "max", "lasttoken"])
def encoder(request: pytest.FixtureRequest, tiny_encoder: TextEncoder) -> TextEncoder:
    return TextEncoder(tiny_encoder.encoder, request.param).eval()


def build(encoder: TextEncoder, max_tokens: int) -> onnx.ModelProto:
    model = cast("Any", encoder.encoder)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return build_graph(read_encoder(model.config.to_dict(), weights, max_tokens), encoder.pooling)


@pytest.fixture(scope="module", params=[build, trace_graph])
def make(request: pytest.FixtureRequest) -> Make:
    """Both ways to a graph: they must do the same."""
    return cast("Make", request.param)


@pytest.fixture(scope="module")
def exported(encoder: TextEncoder, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    return write_graph(make(encoder, 64), "embed", path), path


def test_the_graph_agrees_with_pytorch_for_every_shape(encoder: TextEncoder, exported: Exported):
    session = onnxruntime.InferenceSession(exported[1], providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for texts, length in [(1, 1), (1, 2), (1, 64), (7, 33), (64, 5)]:
        ids = random.integers(4, 50, (texts, length))
        mask = (np.arange(length) < random.integers(1, length + 1, (texts, 1))).astype(np.int64)
        embedding, norm = session.run(["embedding", "norm"], {"input_ids": ids, "attention_mask": mask})
        with torch.inference_mode():
            wanted, length_before = encoder(torch.from_numpy(ids), torch.from_numpy(mask))
        assert (embedding * wanted.numpy()).sum(axis=-1).min() >= 0.99999
        assert np.abs(norm / length_before.numpy() - 1).max() < 1e-5
        assert embedding.dtype == norm.dtype == np.float32
        assert (embedding.shape, norm.shape) == ((texts, 32), (texts,))


def test_the_file_holds_all_and_nothing_of_this_machine(exported: Exported):
    described, path = exported
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {OPSET} == {described.opset}
    assert b".py" not in path.read_bytes()
    names = [name for node in model.graph.node for name in node.output]
    assert len(names) == len(set(names))
    assert not any(entry.data_location == TensorProto.EXTERNAL for entry in model.graph.initializer)


def test_the_description_is_that_of_the_file(exported: Exported):
    described = exported[0]
    assert [(entry.name, entry.dtype, entry.shape) for entry in described.inputs] == [
        ("input_ids", "int64", ("batch", "length")),
        ("attention_mask", "int64", ("batch", "length")),
    ]
    assert [(entry.name, entry.dtype, entry.shape) for entry in described.outputs] == [
        ("embedding", "float32", ("batch", 32)),
        ("norm", "float32", ("batch",)),
    ]
    assert described.dimensions == 32


def test_the_same_module_gives_the_same_bytes_and_says_nothing(
    encoder: TextEncoder, make: Make, exported: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    write_graph(make(encoder, 64), "embed", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[1].read_bytes()
    assert capfd.readouterr() == ("", "")


def test_an_inner_value_with_the_name_of_an_output_is_renamed():
    model = make_model()
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    module._rename_clashes(model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {"input_ids": np.array([[1, 2, 3, 4]]), "attention_mask": np.array([[1, 1, 1, 0]])}
    embedding, norm = session.run(["embedding", "norm"], inputs)
    assert (embedding.tolist(), norm.tolist()) == ([[2.0, 6.0, 12.0, 16.0]], [36.0])


def test_a_module_that_cannot_be_traced_is_refused():
    class Unruly(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
            return type("Answer", (), {"last_hidden_state": torch.zeros(int(input_ids.sum().item()), 2, 4)})

    with pytest.raises(SourceUnsupported, match="cannot export"):
        trace_graph(TextEncoder(Unruly(), "mean").eval(), 64)
