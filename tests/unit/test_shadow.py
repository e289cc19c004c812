"""How far a version that is only compared agrees with the one that answers."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.support.facts import Recorder
from tests.support.manifests import describe_model

from headrace import shadow
from headrace.engine.base import Output
from headrace.errors import EngineFailed, HeadraceError
from headrace.observe.base import ShadowCompared
from headrace.options import Options
from headrace.shadow import Answered, _agree
from headrace.tasks import TASKS
from headrace.types import Filling, Mask, Traits, Window, Word


def output(*rows: tuple[bytes, float]) -> Output:
    """Return what an engine gives for a text with so many masks."""
    arrays: dict[str, Any] = {
        "token_words": np.array([[np.frombuffer(word, np.uint8)] for word, _ in rows], np.uint8).reshape(-1, 1, 4),
        "token_scores": np.array([[score] for _, score in rows], np.float32).reshape(-1, 1),
        "spans": np.array([(4, 10, 0) for _ in rows], np.int32).reshape(-1, 3),
    }
    return Output(windows=(Window(arrays=arrays, tokens=4, weight=2),), truncated=False)


FOUND = Filling(masks=(Mask(4, 10, (Word("mill", 0.5),)),), tokens=4, truncated=False)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (output((b"mill", 0.25)), 1.0),
        (output((b"rain", 0.25)), 0.0),
        (output(), 0.0),  # a version whose mask is another finds none in the text
        (EngineFailed("the model failed on this text"), 0.0),
    ],
)
def test_a_version_that_cannot_answer_does_not_agree(item: Output | HeadraceError, expected: float) -> None:
    model: Any = SimpleNamespace(manifest=describe_model(task="fill", mask="[MASK]"))
    answered = cast("Answered", SimpleNamespace(task=TASKS["fill"], options=Options()))
    assert isinstance(model.manifest.traits, Traits)
    assert _agree(model, answered, "the [MASK]", item, FOUND) == expected


@pytest.mark.parametrize(
    ("is_busy", "expected"),
    [(False, ["asked", "skipped", "asked", "asked"]), (True, ["asked", "skipped", "skipped", "asked"])],
)
async def test_few_requests_are_repeated_and_fewer_while_others_are_answered(
    is_busy: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Recorder()
    it = shadow.Shadow(cast("Any", None), facts)
    asked = []

    async def compare(_model: Any, answered: Answered) -> None:
        asked.append(answered)

    monkeypatch.setattr(it, "_compare", compare)
    model: Any = SimpleNamespace(name="m")
    said = []
    for now in (100.0, 100.04, 100.06, 101.1):
        monkeypatch.setattr(shadow, "time", SimpleNamespace(monotonic=lambda now=now: now))
        before = len(asked)
        it.repeat(model, cast("Answered", SimpleNamespace(texts=("a",))), is_busy=is_busy)
        await asyncio.sleep(0)
        said.append("asked" if len(asked) > before else "skipped")
    assert said == expected
    assert [fact.outcome for fact in facts.of(ShadowCompared)] == [each for each in expected if each == "skipped"]
