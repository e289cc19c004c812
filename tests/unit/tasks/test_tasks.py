from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from headrace.options import Options
from headrace.tasks import TASKS
from headrace.types import PAIRED, Classification, Embedding, Extraction, Label, TaskName, Traits, Window

TRAITS = Traits(labels=("entailment", "contradiction"), function="sigmoid")
TEXT: Any = ("the mill", "the wheel")  # of two, as some tasks read it; those of one look at none of it


class Recording:
    """Options that write down which of them were looked at."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.seen.add(name)
        return getattr(Options(), name)


def window() -> Window:
    arrays = {
        "embedding": np.array([0.6, 0.8], np.float32),
        "norm": np.float32(2),
        "logits": np.array([0.5, -1], np.float32),
        "token_logits": np.array([[2, 1], [0, 1], [3, 0]], np.float32),
        "token_scores": np.array([[0.5, 0.25], [0.75, 0.125], [0.5, 0.5]], np.float32),
        "token_words": np.frombuffer(b"the mills...", np.uint8).reshape(3, 2, 2),
        "spans": np.array([[0, 0, -1], [0, 3, 0], [4, 8, 1]], np.int32),
    }
    return Window(arrays=arrays, tokens=3, weight=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TASKS)
def test_what_is_remembered_depends_on_the_options_that_are_named_and_no_other(name: TaskName) -> None:
    task, options = TASKS[name], Recording()
    text = TEXT if task.model in PAIRED else TEXT[1]
    task.finish(text, [window()], False, options, TRAITS)  # type: ignore[arg-type]
    task.finish(text, [window(), window()], False, options, TRAITS)  # type: ignore[arg-type]
    assert options.seen | {"truncate"} == set(task.options)
    assert set(task.options) <= {field.name for field in fields(Options)}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_packed_comes_back(name: TaskName) -> None:
    task = TASKS[name]
    text = TEXT if task.model in PAIRED else TEXT[1]
    result = task.finish(text, [window()], True, Options(normalize=True), TRAITS)
    back = task.unpack(task.pack(result))
    assert repr(back) == repr(result)
    assert (back.tokens, back.truncated, back.windows) == (3, True, 1)


def answered(
    *logits: float, vector: tuple[float, float] = (0.6, 0.8), tokens: Any = None, words: bytes = b"the mills..."
) -> Window:
    arrays = {
        "embedding": np.array(vector, np.float32),
        "norm": np.float32(2),
        "logits": np.array(logits, np.float32),
        "token_logits": np.array(tokens or [[2, 1], [0, 5], [3, 0]], np.float32),
        "token_scores": np.array([[0.5, 0.25], [0.75, 0.125], [0.5, 0.5]], np.float32),
        "token_words": np.frombuffer(words, np.uint8).reshape(3, 2, 2),
        "spans": np.array([[0, 0, -1], [0, 3, 0], [4, 8, 1]], np.int32),
    }
    return Window(arrays=arrays, tokens=3, weight=2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("embed", answered(0.5, -1, vector=(0.8, -0.6)), 0.0),
        ("similarity", answered(0.5, -1, vector=(0.0, 1.0)), 0.8),
        ("classify", answered(-1, 0.5), 0.0),
        ("classify", answered(7, -1), 1.0),
        ("zeroshot", answered(-1, 0.5), 0.0),
        ("zeroshot", answered(7, -1), 1.0),
        ("rerank", answered(0.5, 3), 1.0),
        ("regress", answered(-0.5, -1), 0.0),
        ("extract", answered(0.5, -1, tokens=[[2, 1], [5, 0], [3, 0]]), 0.0),
        ("answer", answered(0.5, -1, tokens=[[2, 1], [0, 0], [9, 9]]), 0.0),
        ("fill", answered(words=b"the mulls..."), 2 / 3),
        ("fill", answered(words=b"thxxmixxs.xx"), 1.0),
    ],
)
def test_results_agree_as_far_as_they_say_the_same(name: TaskName, other: Window, expected: float) -> None:
    task = TASKS[name]
    text = TEXT if task.model in PAIRED else TEXT[1]
    traits = Traits(labels=("O", "B-X")) if name == "extract" else TRAITS
    first, second = (
        task.finish(text, [window], False, Options(normalize=True), traits) for window in (answered(0.5, -1), other)
    )
    assert task.agree(first, first) == pytest.approx(1)
    assert task.agree(first, second) == task.agree(second, first) == pytest.approx(expected, abs=1e-6)


def test_what_has_no_best_agrees_with_the_same_alone() -> None:
    nothing = Classification(labels=(), tokens=1, truncated=False)
    something = Classification(labels=(Label("a", 1.0),), tokens=1, truncated=False)
    assert TASKS["classify"].agree(nothing, nothing) == 1
    assert TASKS["classify"].agree(nothing, something) == 0
    assert TASKS["extract"].agree(*[Extraction(entities=(), tokens=1, truncated=False)] * 2) == 1
    lengths = [Embedding(values=np.ones(size, np.float32), tokens=1, truncated=False) for size in (2, 3)]
    assert TASKS["embed"].agree(*lengths) == 0
