import gc
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import needs
from tests.support.encoders import random_encoder, write_encoder

from headrace.engine.base import Bell, TokenBatch, complete, go_on
from headrace.engine.initializers import ENCODER
from headrace.engine.native import NativeBackend, NativeModel
from headrace.engine.onnx import OnnxBackend
from headrace.engine.plan import Precision
from headrace.errors import EngineFailed, ModelCorrupt, RuntimeUnfit
from headrace.export.architecture import Activation, Head, HeadActivation, Linear
from headrace.export.builder import build_classifier, build_filler, build_tagger
from headrace.models.manifest import Pooling
from headrace.types import FloatArray

pytestmark = needs.native

VOCABULARY, WINDOW, LAYERS = 60, 80, 2
# How near to the graph's answers those of the kernels are, for weights that are harder to round than a trained model's.
LEAST: dict[Precision, float] = {"fp32": 0.999999, "int16": 0.999999, "bf16": 0.9995, "int8": 0.998}
LENGTHS = [1, 2, 11, 12, 13, 31, 32, 33, 47, 80]  # around the sizes of tiles and panels


def texts(lengths: Sequence[int], seed: int = 0) -> TokenBatch:
    chooser = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return TokenBatch(input_ids=chooser.integers(0, VOCABULARY, mask.shape) * mask, attention_mask=mask)


def row(batch: TokenBatch, index: int) -> TokenBatch:
    length = int(batch.attention_mask[index].sum())
    return TokenBatch(
        input_ids=batch.input_ids[index : index + 1, :length],
        attention_mask=batch.attention_mask[index : index + 1, :length],
    )


@pytest.fixture(scope="module", params=["mean", "cls", "lasttoken"])  # the last layer works out all tokens, or one
def path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return write_encoder(tmp_path_factory.mktemp("native") / "model.onnx", random_encoder(), request.param)


@pytest.fixture(scope="module", params=needs.kernels(*LEAST))
def precision(request: pytest.FixtureRequest) -> Precision:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def backend(path: Path, precision: Precision) -> NativeBackend:
    return NativeModel(path, 2, precision).session()


def assert_agree(found: dict[str, Any], wanted: dict[str, Any], least: float) -> None:
    lengths = np.linalg.norm(found["embedding"], axis=1) * np.linalg.norm(wanted["embedding"], axis=1)
    cosines = (found["embedding"].astype(np.float64) * wanted["embedding"]).sum(axis=1) / lengths
    assert cosines.min() > least
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found["norm"], wanted["norm"], rtol=0.03)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "with a bias of the scores"])
def test_it_computes_what_the_graph_says(
    tmp_path: Path, activation: Activation, pooling: Pooling, has_bias: bool, precision: Precision
):
    encoder = random_encoder(activation=activation, has_bias=has_bias)
    path = write_encoder(tmp_path / "model.onnx", encoder, pooling)
    batch = texts(LENGTHS)
    native, onnx = NativeModel(path, 2, precision).session(), OnnxBackend(path, 2)
    assert_agree(native.run(batch), onnx.run(batch), LEAST[precision])


def test_each_token_gets_its_state_where_words_are_looked_for_afterwards(tmp_path: Path, precision: Precision):
    path = tmp_path / "model.onnx"
    path.write_bytes(build_filler(random_encoder()).SerializeToString())
    batch = texts(LENGTHS)
    found, wanted = (
        backend.run(batch)["token_states"]
        for backend in (NativeModel(path, 2, precision).session(), OnnxBackend(path, 2))
    )
    assert found.shape == wanted.shape == (*batch.input_ids.shape, 64)
    is_token = batch.attention_mask == 1
    cosines = (found * wanted)[is_token].sum(axis=1) / (
        np.linalg.norm(found[is_token], axis=1) * np.linalg.norm(wanted[is_token], axis=1)
    )
    assert cosines.min() > {"fp32": 0.999999, "int16": 0.9999, "bf16": 0.999, "int8": 0.98}[precision]


def test_each_token_gets_scores_where_the_model_gives_them(tmp_path: Path, precision: Precision):
    most = {"fp32": 0.001, "int16": 0.005, "bf16": 0.1, "int8": 0.4}[precision]
    chooser = np.random.default_rng(3)
    head = Linear(weight=chooser.normal(size=(64, 5), scale=0.2).astype(np.float32), bias=np.ones(5, np.float32))
    path = tmp_path / "model.onnx"
    path.write_bytes(build_tagger(random_encoder(), head).SerializeToString())
    batch = texts(LENGTHS)
    session, is_token = NativeModel(path, 2, precision).session(), batch.attention_mask == 1
    found, wanted = session.run(batch)["token_logits"], OnnxBackend(path, 2).run(batch)["token_logits"]
    assert found.shape == wanted.shape == (*batch.input_ids.shape, 5)
    np.testing.assert_allclose(found[is_token], wanted[is_token], atol=most)
    assert np.abs(wanted[is_token]).max() > 1  # else anything would be close
    for index in (0, 4):
        alone = session.run(row(batch, index))["token_logits"][0]
        np.testing.assert_allclose(alone, found[index][is_token[index]], atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
def test_tokens_of_a_second_text_are_told_apart(tmp_path: Path, precision: Precision, activation: HeadActivation):
    chooser = np.random.default_rng(3)

    def numbers(*shape: int) -> FloatArray:
        return np.asarray(chooser.normal(size=shape, scale=0.3), np.float32)

    encoder = replace(random_encoder(), segment=numbers(64) * 10)
    head = Head(
        inner=Linear(weight=numbers(64, 64), bias=numbers(64)),
        activation=activation,
        outer=Linear(weight=numbers(64, 1), bias=numbers(1)),
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(build_classifier(encoder, head).SerializeToString())
    alone = texts(LENGTHS)
    types = (np.arange(80) >= np.array(LENGTHS)[:, None] // 2) * alone.attention_mask
    pairs = replace(alone, token_type_ids=types)
    native, onnx = NativeModel(path, 2, precision).session(), OnnxBackend(path, 2)
    for batch in (alone, pairs):
        np.testing.assert_allclose(native.run(batch)["logits"], onnx.run(batch)["logits"], atol=0.3)
    assert np.abs(onnx.run(pairs)["logits"] - onnx.run(alone)["logits"]).max() > 1


# The groups that integers are rounded in: 64, 192, 64 of 320, 128, 256, and two of 192.
@pytest.mark.parametrize(
    ("hidden", "heads", "inner"),
    [(64, 1, 64), (128, 4, 192), (192, 2, 320), (64, 1, 128), (128, 1, 512), (64, 2, 384)],
)
def test_widths_that_are_no_powers_of_two_are_computed_too(
    tmp_path: Path, hidden: int, heads: int, inner: int, precision: Precision
):
    path = write_encoder(tmp_path / "model.onnx", random_encoder(hidden=hidden, heads=heads, inner=inner))
    batch = texts(LENGTHS)
    native, onnx = NativeModel(path, 3, precision).session(), OnnxBackend(path, 2)
    assert_agree(native.run(batch), onnx.run(batch), LEAST[precision])


@pytest.mark.parametrize("precision", needs.kernels("int16", "int8"))
def test_a_great_channel_costs_integers_little(tmp_path: Path, precision: Precision):
    encoder = random_encoder()
    for layer in encoder.layers:
        layer.attention_norm.scale[5] = layer.outer_norm.scale[5] = 6.0
    path = write_encoder(tmp_path / "model.onnx", encoder)
    batch, least = texts(LENGTHS), 0.996 if precision == "int8" else 0.99999
    assert_agree(NativeModel(path, 2, precision).session().run(batch), OnnxBackend(path, 2).run(batch), least)


@given(lengths=st.lists(st.integers(1, WINDOW), min_size=1, max_size=20), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_an_answer_is_the_same_to_the_bit_alone_and_among_others(backend: NativeBackend, lengths: list[int], seed: int):
    batch = texts(lengths, seed)
    together = backend.run(batch)
    for index in range(len(lengths)):
        alone = backend.run(row(batch, index))
        assert alone["embedding"].tobytes() == together["embedding"][index].tobytes()
        assert alone["norm"].tobytes() == together["norm"][index].tobytes()


def test_the_number_of_threads_changes_no_bit(path: Path, precision: Precision):
    batch = texts([*LENGTHS, *LENGTHS])
    answers = {
        NativeModel(path, threads, precision).session().run(batch)["embedding"].tobytes() for threads in (1, 2, 5)
    }
    assert len(answers) == 1


def test_sessions_at_the_same_time_do_not_disturb_each_other(path: Path, precision: Precision):
    model = NativeModel(path, 2, precision)
    batches = [texts(LENGTHS[index:], seed=index) for index in range(4)]
    wanted = [model.session().run(batch)["embedding"].tobytes() for batch in batches]
    wrong: list[int] = []

    def ask(index: int, session: NativeBackend) -> None:
        answers = (session.run(batches[index])["embedding"].tobytes() for _ in range(50))
        wrong.extend(index for answer in answers if answer != wanted[index])

    threads = [threading.Thread(target=ask, args=(index, model.session())) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def ringing() -> Bell:
    bell = Bell()
    bell.add(1)
    return bell


def test_a_batch_stops_only_if_the_bell_rings(path: Path, precision: Precision):
    backend, bell = NativeModel(path, 2, precision).session(), Bell()
    assert go_on(backend.steps(texts([WINDOW]), bell)) is not None
    stopped = backend.steps(texts([WINDOW]), ringing())
    assert go_on(stopped) is None
    quiet = backend.steps(texts([WINDOW]), bell)
    bell.add(1)
    assert go_on(quiet) is None
    bell.add(-1)
    assert go_on(quiet) is not None


def test_batches_that_take_turns_come_to_the_same_bits(path: Path, precision: Precision):
    backend = NativeModel(path, 2, precision).session()
    batches = [texts(lengths, seed=7) for lengths in ([WINDOW], [3, 5], [40] * 4)]
    wanted = [backend.run(batch)["embedding"].tobytes() for batch in batches]
    turns = [backend.steps(batch, ringing()) for batch in batches]
    found: list[bytes | None] = [None] * len(turns)
    steps = 0
    while None in found:
        steps += 1
        for index, turn in enumerate(turns):
            outputs = go_on(turn) if found[index] is None else None
            if outputs is not None:
                found[index] = outputs["embedding"].tobytes()
        assert backend.run(batches[1])["embedding"].tobytes() == wanted[1]
    assert found == wanted
    assert steps == LAYERS


def test_a_batch_that_is_given_up_halfway_leaves_nothing_behind(path: Path, precision: Precision):
    backend = NativeModel(path, 2, precision).session()
    wanted = backend.run(texts([WINDOW]))["embedding"].tobytes()
    given_up = backend.steps(texts([40], seed=1), ringing())
    assert go_on(given_up) is None
    given_up.close()
    assert complete(backend.steps(texts([WINDOW]), ringing()))["embedding"].tobytes() == wanted
    resting = backend.steps(texts([WINDOW]), ringing())
    assert go_on(resting) is None
    backend.close()
    assert complete(resting)["embedding"].tobytes() == wanted
    with pytest.raises(EngineFailed, match="released"):
        backend.run(texts([4]))


@pytest.mark.parametrize("token", [-1, VOCABULARY, 1 << 40])
def test_a_token_outside_the_table_is_refused_and_the_next_text_is_answered(backend: NativeBackend, token: int):
    batch = texts([5, 7])
    good = backend.run(batch)
    bad = batch.input_ids.copy()
    bad[1, 3] = token
    with pytest.raises(EngineFailed, match="no vector for"):
        backend.run(TokenBatch(input_ids=bad, attention_mask=batch.attention_mask))
    assert backend.run(batch)["embedding"].tobytes() == good["embedding"].tobytes()


def test_a_text_without_tokens_or_over_the_window_is_refused(backend: NativeBackend):
    with pytest.raises(EngineFailed, match="too many"):
        backend.run(texts([WINDOW + 1]))
    nothing = np.zeros((1, 4), np.int64)
    with pytest.raises(EngineFailed, match="import it again"):
        backend.run(TokenBatch(input_ids=nothing, attention_mask=nothing))


def test_a_text_that_becomes_nan_leaves_its_neighbours_alone(tmp_path: Path, precision: Precision):
    encoder = random_encoder()
    encoder.words[7] = np.nan
    backend = NativeModel(write_encoder(tmp_path / "model.onnx", encoder), 2, precision).session()
    batch = texts([6, 6, 6])
    batch.input_ids[:] = np.where(batch.input_ids == 7, 8, batch.input_ids)
    clean = backend.run(batch)
    batch.input_ids[1, 2] = 7
    found = backend.run(batch)
    assert np.isnan(found["embedding"][1]).all()
    assert found["embedding"][[0, 2]].tobytes() == clean["embedding"][[0, 2]].tobytes()


def test_a_closed_session_is_over_and_the_others_go_on(path: Path, precision: Precision):
    model = NativeModel(path, 2, precision)
    first, second = model.session(), model.session()
    answer = second.run(texts([4]))["embedding"].tobytes()
    first.close()
    first.close()
    del model
    gc.collect()
    with pytest.raises(EngineFailed, match="released"):
        first.run(texts([4]))
    assert second.run(texts([4]))["embedding"].tobytes() == answer
    second.close()


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_that_says_nothing_of_an_encoder_is_left_to_the_other_runtimes(tmp_path: Path):
    path = write_encoder(tmp_path / "model.onnx", random_encoder())
    change(path, lambda model: model.ClearField("metadata_props"))
    with pytest.raises(RuntimeUnfit, match="use another --runtime"):
        NativeModel(path, 1, "int16").session()


@pytest.mark.parametrize("sizes", [{"hidden": 96, "heads": 3}, {"heads": 4}, {"inner": 96}, {"words": 32}])
def test_shapes_that_are_not_computed_are_left_to_the_other_runtimes(tmp_path: Path, sizes: dict[str, int]):
    path = write_encoder(tmp_path / "model.onnx", random_encoder(**sizes))  # type: ignore[arg-type]
    with pytest.raises(RuntimeUnfit, match="use another --runtime"):
        NativeModel(path, 1, "int16").session()


def note(**changes: Any) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        facts = json.loads(model.metadata_props[0].value) | changes
        onnx.helper.set_model_props(model, {ENCODER: json.dumps(facts)})

    return edit


def garble(model: onnx.ModelProto) -> None:
    onnx.helper.set_model_props(model, {ENCODER: "[1"})


def drop(model: onnx.ModelProto) -> None:
    del model.graph.initializer[[tensor.name for tensor in model.graph.initializer].index("layers.1.key.bias")]


def widen(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "layers.1.key.bias")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(65, np.float32), tensor.name))


@pytest.mark.parametrize(
    "edit",
    [
        *(garble, drop, widen, note(layers=3), note(layers=1 << 30), note(layers="2"), note(activation="silu")),
        *(note(pooling=None), note(epsilon="small")),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, edit: Callable[[onnx.ModelProto], None]):
    path = change(write_encoder(tmp_path / "model.onnx", random_encoder()), edit)
    with pytest.raises(ModelCorrupt, match="import the model again"):
        NativeModel(path, 1, "int16").session()


@pytest.mark.parametrize("heads", [0, -2])
def test_heads_that_cannot_be_are_refused(tmp_path: Path, heads: int):
    path = change(write_encoder(tmp_path / "model.onnx", random_encoder()), note(heads=heads))
    with pytest.raises(RuntimeUnfit):
        NativeModel(path, 1, "int16").session()
