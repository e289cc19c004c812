import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.support.manifests import describe_model
from tests.support.models import add_model, build_reference, write_files
from tests.support.services import PLAN

from headrace.engine.agreement import REQUIRED, Agreement, Reference, compare, measure, read_reference, write_reference
from headrace.engine.base import Output
from headrace.engine.loaded import load_engine
from headrace.engine.plan import Precision
from headrace.engine.registry import LoadedModel, Registry
from headrace.errors import EngineFailed, HeadraceError, ModelCorrupt, PrecisionUnfit, StoreUnusable
from headrace.models.store import LocalStore
from headrace.observe.base import Observers
from headrace.settings import EngineSettings
from headrace.types import Arrays, Window

UNIT = np.array([0.6, 0.8], dtype=np.float32)


def output(arrays: Arrays) -> Output:
    return Output(windows=(Window(arrays=arrays, tokens=3, weight=1),), truncated=False)


def test_a_reference_is_read_as_it_was_written(tmp_path: Path):
    written = build_reference()
    write_reference(tmp_path / "reference.json", written)
    found = read_reference(tmp_path / "reference.json")
    assert found.texts == written.texts
    for one, other in zip(found.arrays, written.arrays, strict=True):
        assert set(one) == set(other)
        for name, values in other.items():
            np.testing.assert_array_equal(one[name], values)


@pytest.mark.parametrize(
    ("wanted", "given", "is_close"),
    [
        ([0.01, -0.01], [0.02, -0.012], True),  # near 0 a direction says nothing
        ([0.01, -0.01], [0.09, -0.09], False),
        ([9.0, -9.0], [9.1, -9.0], True),
        ([9.0, -9.0], [-9.0, 9.0], False),
        ([1.0, 0.9], [0.9, 1.0], False),
    ],
)
def test_scores_are_compared_beside_a_score_of_one(wanted: list[float], given: list[float], is_close: bool):
    reference = Reference(("a",), ({"logits": np.array(wanted, np.float32)},))
    agreement = compare(reference, [output({"logits": np.array(given, np.float32)})])
    assert agreement.reaches(REQUIRED["bf16"]) is is_close


def test_a_reference_with_scores_of_tokens_comes_back_text_by_text(tmp_path: Path):
    written = [np.arange(2 * tokens, dtype=np.float32).reshape(tokens, 2) for tokens in (3, 1, 4)]
    reference = Reference(("a", "b", "c"), tuple({"token_logits": scores} for scores in written))
    write_reference(tmp_path / "reference.json", reference)
    found = read_reference(tmp_path / "reference.json")
    for arrays, scores in zip(found.arrays, written, strict=True):
        np.testing.assert_array_equal(arrays["token_logits"], scores)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"texts": ["a"]}',
        '{"texts": ["a"], "outputs": {"e": 1}}',
        '{"texts": ["a"], "outputs": {"e": {"shape": [1, 1], "data": "!"}}}',
        '{"texts": ["a"], "outputs": {"e": {"shape": [1, 2], "data": "AACAPw=="}}}',
        '{"texts": ["a", "b"], "outputs": {"e": {"shape": [1, 1], "data": "AACAPw=="}}}',
        '{"texts": ["a"], "outputs": {"e": {"shape": [1, 1], "lengths": [2], "data": "AACAPw=="}}}',
        '{"texts": ["a", "b"], "outputs": {"e": {"shape": [1, 1], "lengths": [1], "data": "AACAPw=="}}}',
    ],
)
def test_what_is_no_reference_is_corrupt(tmp_path: Path, content: str):
    (tmp_path / "reference.json").write_text(content)
    with pytest.raises(ModelCorrupt, match="holds no reference answers; import the model again"):
        read_reference(tmp_path / "reference.json")


def test_a_reference_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(StoreUnusable, match=r"reference\.json"):
        read_reference(tmp_path / "reference.json")


@pytest.mark.parametrize(
    ("second", "least", "mean"),
    [
        (output({"e": UNIT}), 1.0, 1.0),
        (output({"e": np.array([0.8, 0.6], dtype=np.float32)}), 0.96, 0.98),
        (EngineFailed("no"), -1.0, 0.0),
        (output({"other": UNIT}), -1.0, 0.0),
    ],
)
def test_the_worst_answer_and_the_mean_count(second: Output | HeadraceError, least: float, mean: float):
    reference = Reference(("a", "b"), ({"e": UNIT}, {"e": UNIT}))
    found = compare(reference, [output({"e": UNIT}), second])
    assert found.min_cosine == pytest.approx(least)
    assert found.mean_cosine == pytest.approx(mean)


def test_of_several_outputs_the_furthest_counts():
    reference = Reference(("a",), ({"e": UNIT, "f": UNIT},))
    turned = np.array([0.8, 0.6], dtype=np.float32)
    assert compare(reference, [output({"e": UNIT, "f": turned})]).mean_cosine == pytest.approx(0.96)


@pytest.mark.parametrize(
    ("least", "mean", "reached"), [(0.996, 0.999, True), (0.9959, 0.9999, False), (0.9985, 0.9989, False)]
)
def test_both_cosines_must_be_reached(least: float, mean: float, reached: bool):
    assert Agreement(least, mean).reaches(REQUIRED["int8"]) is reached


def test_every_precision_has_a_requirement():
    assert REQUIRED.keys() == set(get_args(Precision))
    assert all(required.mean_cosine >= 0.999 for required in REQUIRED.values())


def test_distances_are_given_text_by_text():
    found = measure([{"e": UNIT}, {"e": UNIT}], [output({"e": UNIT}), output({"e": UNIT + np.float32(0.1)})])
    assert [round(distance.difference, 3) for distance in found["e"]] == [0.0, 0.1]


async def _start(tmp_path: Path, reference: Reference) -> None:
    stored = add_model(LocalStore(tmp_path))
    engine = load_engine(stored.path, stored.manifest, EngineSettings(threads=1), Observers([]))
    registry = Registry([LoadedModel(stored.manifest, engine, PLAN, reference)])
    try:
        await registry.start(Observers([]))
        assert registry.is_ready
    finally:
        await registry.aclose()


async def test_a_model_that_answers_like_the_original_is_served(tmp_path: Path):
    await _start(tmp_path, build_reference())


async def test_a_model_that_answers_otherwise_than_the_original_is_not_served(tmp_path: Path):
    with pytest.raises(PrecisionUnfit, match=r"as onnxruntime fp32, .* use --precision fp32, or headrace tune tiny"):
        await _start(tmp_path, build_reference(seed=1))


async def test_a_folder_without_a_reference_is_no_model(tmp_path: Path):
    store = LocalStore(tmp_path)
    stored = add_model(store)
    (stored.path / "reference.json").unlink()
    with pytest.raises(ModelCorrupt, match=r"reference\.json is missing"):
        store.open("tiny")


def test_a_manifest_that_lists_no_reference_is_corrupt(tmp_path: Path):

    store = LocalStore(tmp_path)
    with store.draft() as draft:
        write_files(draft)
        (draft / "reference.json").unlink()
        store.publish(draft, lambda files: describe_model(name="tiny", dimensions=8, **files))
    with pytest.raises(ModelCorrupt, match=r"manifest\.json lists no reference\.json"):
        store.open("tiny")


def test_the_reference_does_not_decide_the_revision(tmp_path: Path):
    """PyTorch gives the last bits of it as the processor computes them; the model is the same."""
    store = LocalStore(tmp_path)
    first = add_model(store)
    with store.draft() as draft:
        write_files(draft)
        content = json.loads((draft / "reference.json").read_text())
        content["texts"][0] = "another text"
        (draft / "reference.json").write_text(json.dumps(content))

        manifest = store.publish(draft, lambda files: describe_model(name="other", dimensions=8, **files)).manifest
    assert manifest.revision == first.manifest.revision
