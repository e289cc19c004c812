"""Graphs that somebody else made: what is let in, and what serving is given of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.export.conftest import WORDS, make_tokenizer

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.export.graph import write_graph
from headrace.export.shipped import ShippedOriginal
from headrace.models.checkpoint import Checkpoint
from headrace.models.manifest import Pooling
from headrace.types import ModelTask

WIDTH = 3
TEXTS = ("the water wheel", "", "a", "water")
TABLE = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH)).astype(np.float32)

# The smallest graph of each kind: rows of a table, the first of them, or their sum.
ROWS = (helper.make_node("Gather", ["table", "input_ids"], ["rows"]),)
FIRST = (*ROWS, helper.make_node("Gather", ["rows", "zero"], ["first"], axis=1))


def shipped(  # noqa: PLR0913 - each test changes one of them
    output: str = "logits",
    nodes: Sequence[onnx.NodeProto] = ROWS,
    *,
    axes: int = 3,
    width: int = WIDTH,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    kind: int = TensorProto.INT64,
    gives: int = TensorProto.FLOAT,
    opset: int = 17,
    domains: Sequence[str] = (),
    table: onnx.TensorProto | None = None,
) -> onnx.ModelProto:
    """Return a graph whose last value becomes the output; every input is used, and has no influence but the ids."""
    last = nodes[-1].output[0]
    used = [helper.make_node("Cast", [name], [f"float {name}"], to=TensorProto.FLOAT) for name in inputs]
    extra = [*nodes, *used]
    extra.append(helper.make_node("Cast", [last], [output], to=gives))
    shape: list[str | int] = ["N", "S", width] if axes == 3 else ["N", width]
    graph = helper.make_graph(
        extra,
        "shipped",
        [helper.make_tensor_value_info(name, kind, ["N", "S"]) for name in inputs],
        [helper.make_tensor_value_info(output, gives, shape)],
        [table or numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array(0), "zero")],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def checkpoint(
    folder: Path,
    model: onnx.ModelProto,
    task: ModelTask = "extract",
    pooling: Pooling = "mean",
    labels: tuple[str, ...] = ("O", "B-A", "I-A"),
) -> Checkpoint:
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    (folder / "onnx/model.onnx").write_bytes(model.SerializeToString())
    make_tokenizer().save(str(folder / "tokenizer.json"))
    return Checkpoint(
        folder=folder,
        weights="onnx/model.onnx",
        config={},
        architecture="BertModel",
        task=task,
        labels=() if task in {"embed", "regress"} else labels,
        function=None,
        pooling=pooling,
        normalize=False,
        max_tokens=12,
        prompts={},
        license=None,
    )


def served(folder: Path, given: Checkpoint, texts: Sequence[str] = TEXTS) -> list[dict[str, Any]]:
    """Return what the adapted graph gives for texts that run together, each without its padding."""
    original = ShippedOriginal(given)
    model = original.adapt()
    graph = write_graph(model, given.task, folder / "adapted.onnx")
    session = onnxruntime.InferenceSession(folder / "adapted.onnx", providers=["CPUExecutionProvider"])
    rows = [original._tokenize(text)[0] for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = own
    mask = (np.arange(ids.shape[1]) < np.array([len(own) for own in rows])[:, None]).astype(np.int64)
    names = [output.name for output in graph.outputs]
    found = session.run(names, {"input_ids": ids, "attention_mask": mask})
    return [
        {
            name: array[index, : len(own)] if name == "token_logits" else array[index]
            for name, array in zip(names, found, strict=True)
        }
        for index, own in enumerate(rows)
    ]


def assert_same(folder: Path, given: Checkpoint) -> list[dict[str, Any]]:
    """Hold what is served against what the shipped graph gives by itself."""
    expected = [ShippedOriginal(given).answer(text) for text in TEXTS]
    found = served(folder, given)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            np.testing.assert_allclose(values, other[name], atol=1e-6)
            assert values.dtype == np.float32
    return found


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("gives", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize("more", [(), ("token_type_ids",)])
def test_scores_of_tokens_are_those_of_the_shipped_graph(
    tmp_path: Path, kind: int, gives: int, opset: int, more: tuple[str, ...]
):
    inputs = ("input_ids", "attention_mask", *more)
    given = checkpoint(tmp_path, shipped(inputs=inputs, kind=kind, gives=gives, opset=opset))
    (first, *_) = assert_same(tmp_path, given)
    exact = 1e-6 if gives == TensorProto.FLOAT else 1e-3
    np.testing.assert_allclose(first["token_logits"][0], TABLE[WORDS.index("[CLS]")], atol=exact)


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_scores_of_texts_are_those_of_the_shipped_graph(tmp_path: Path, task: ModelTask):
    assert_same(tmp_path, checkpoint(tmp_path, shipped(nodes=FIRST, axes=2), task))


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize(
    ("output", "axes"), [("last_hidden_state", 3), ("token_embeddings", 3), ("sentence_embedding", 2)]
)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_are_pooled_and_have_length_one(
    tmp_path: Path, output: str, axes: int, pooling: Pooling, opset: int
):
    model = shipped(output, ROWS if axes == 3 else FIRST, axes=axes, opset=opset)
    found = assert_same(tmp_path, checkpoint(tmp_path, model, "embed", pooling))
    for each in found:
        assert np.linalg.norm(each["embedding"]) == pytest.approx(1, abs=1e-6)
    if pooling == "cls" or axes == 2:
        np.testing.assert_allclose(found[0]["norm"], np.linalg.norm(TABLE[WORDS.index("[CLS]")]), rtol=1e-6)


def test_values_that_have_our_names_already_are_no_obstacle(tmp_path: Path):
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedding"]),
        helper.make_node("Neg", ["embedding"], ["norm"]),
    ]
    assert_same(tmp_path, checkpoint(tmp_path, shipped("last_hidden_state", nodes), "embed"))
    nodes = [helper.make_node("Neg", ["token_logits"], ["end"])]
    nodes.insert(0, helper.make_node("Gather", ["table", "input_ids"], ["token_logits"]))
    assert_same(tmp_path, checkpoint(tmp_path, shipped(nodes=nodes), "extract"))


def test_weights_beside_the_graph_are_taken_in(tmp_path: Path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx_data").write_bytes(TABLE.tobytes())
    found = assert_same(tmp_path, checkpoint(tmp_path, shipped(table=outside("model.onnx_data"))))
    np.testing.assert_allclose(found[0]["token_logits"][0], TABLE[WORDS.index("[CLS]")])
    assert (tmp_path / "adapted.onnx").stat().st_size > TABLE.nbytes


def outside(location: str, **more: str) -> onnx.TensorProto:
    tensor = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=TABLE.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "model.onnx_data/../../x", "other_data", "", ".", "sub/model.onnx_data"]
)
def test_weights_from_elsewhere_are_refused(tmp_path: Path, location: str):
    with pytest.raises(SourceUnsafe, match="they may lie beside it"):
        ShippedOriginal(checkpoint(tmp_path, shipped(table=outside(location))))


def test_weights_from_elsewhere_in_an_attribute_are_refused(tmp_path: Path):
    nodes = (helper.make_node("Constant", [], ["table2"], value=outside("../x")), *ROWS)
    with pytest.raises(SourceUnsafe):
        ShippedOriginal(checkpoint(tmp_path, shipped(nodes=nodes)))


def test_weights_behind_a_link_are_refused(tmp_path: Path):
    (tmp_path / "secret").write_bytes(TABLE.tobytes())
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx_data").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceUnsafe, match="link"):
        ShippedOriginal(checkpoint(tmp_path, shipped(table=outside("model.onnx_data"))))


@pytest.mark.parametrize("size", [None, 0, TABLE.nbytes - 1])
def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, size: int | None):
    given = checkpoint(tmp_path, shipped(table=outside("model.onnx_data")))
    if size is not None:
        (tmp_path / "onnx/model.onnx_data").write_bytes(TABLE.tobytes()[:size])
    with pytest.raises(SourceInvalid):
        ShippedOriginal(given)


BRANCH = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])])


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (helper.make_node("If", ["zero"], ["x"], then_branch=BRANCH, else_branch=BRANCH), "If"),
        (helper.make_node("Loop", ["zero", ""], ["x"], body=BRANCH), "Loop"),
        (helper.make_node("RandomNormal", [], ["x"], shape=[1 << 40]), "RandomNormal"),
        (helper.make_node("Gather", ["table", "zero"], ["x"], branch=BRANCH), "Gather"),
        (helper.make_node("MatMul", ["table", "table"], ["x"], domain="com.microsoft"), "com.microsoft.MatMul"),
        (helper.make_node("DynamicQuantizeLinear", ["rows"], ["x", "s", "z"]), "DynamicQuantizeLinear"),
        (helper.make_node("QAttention", ["rows"], ["x"], domain="com.microsoft"), "QAttention"),
    ],
)
def test_operators_that_no_encoder_needs_are_refused_by_name(tmp_path: Path, node: onnx.NodeProto, field: str):
    with pytest.raises(SourceUnsupported) as caught:
        ShippedOriginal(checkpoint(tmp_path, shipped(nodes=(node, *ROWS), domains=["com.microsoft"])))
    assert caught.value.field == field


def test_operators_of_ones_own_are_refused(tmp_path: Path):
    with pytest.raises(SourceUnsupported, match="of a kind that is not read here"):
        ShippedOriginal(checkpoint(tmp_path, shipped(domains=["my.domain"])))


@pytest.mark.parametrize(
    ("changes", "task", "error", "field"),
    [
        ({"inputs": ("input_ids",)}, "extract", SourceUnsupported, "attention_mask"),
        ({"inputs": ("input_ids", "attention_mask", "pixels")}, "extract", SourceUnsupported, "pixels"),
        ({"kind": TensorProto.FLOAT}, "extract", SourceUnsupported, "input_ids"),
        ({"output": "scores"}, "extract", SourceUnsupported, "scores"),
        ({"axes": 2, "nodes": FIRST}, "extract", SourceUnsupported, "logits"),
        ({}, "classify", SourceUnsupported, "logits"),
        ({}, "embed", SourceUnsupported, "logits"),
        ({"gives": TensorProto.INT64}, "extract", SourceUnsupported, "logits"),
        ({"width": 0}, "extract", SourceUnsupported, "logits"),
        ({"width": 4}, "extract", SourceInvalid, "id2label"),
        ({"opset": 99}, "extract", SourceInvalid, None),
        ({"nodes": (helper.make_node("Neg", ["nothing"], ["x"]),)}, "extract", SourceInvalid, None),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], task: ModelTask, error: type[ModelError], field: str | None
):
    with pytest.raises(error) as caught:
        ShippedOriginal(checkpoint(tmp_path, shipped(**changes), task))
    assert caught.value.field == field


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08" + b"\xff" * 64])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes):
    given = checkpoint(tmp_path, shipped())
    (tmp_path / "onnx/model.onnx").write_bytes(content)
    with pytest.raises(ModelError):
        ShippedOriginal(given)


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path):
    small = numpy_helper.from_array(TABLE[:5], "table")
    original = ShippedOriginal(checkpoint(tmp_path, shipped(table=small)))
    with pytest.raises(SourceInvalid, match="that of another model"):
        original.answer("the water wheel")


def test_vectors_that_cannot_be_pooled_are_refused(tmp_path: Path):
    with pytest.raises(SourceUnsupported, match="pooled by max"):
        ShippedOriginal(checkpoint(tmp_path, shipped("last_hidden_state"), "embed", "max")).adapt()


def test_a_file_says_in_what_its_weights_are(tmp_path: Path):
    half = numpy_helper.from_array(TABLE.astype(np.float16), "table")
    for model, precision in ((shipped(), "fp32"), (shipped(table=half), "fp16")):
        graph = write_graph(ShippedOriginal(checkpoint(tmp_path, model)).adapt(), "extract", tmp_path / "adapted.onnx")
        assert (graph.precision, graph.opset, graph.dimensions) == (precision, 17, WIDTH)
