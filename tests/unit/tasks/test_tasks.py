from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from headrace.tasks import TASKS
from headrace.types import Options, TaskName, Traits, Window

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
        "spans": np.array([[0, 0, -1], [0, 3, 0], [4, 8, 1]], np.int32),
    }
    return Window(arrays=arrays, tokens=3, weight=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TASKS)
def test_what_is_remembered_depends_on_the_options_that_are_named_and_no_other(name: TaskName) -> None:
    task, options = TASKS[name], Recording()
    text = TEXT if task.model in {"answer", "rerank", "zeroshot"} else TEXT[1]
    task.finish(text, [window()], False, options, TRAITS)  # type: ignore[arg-type]
    task.finish(text, [window(), window()], False, options, TRAITS)  # type: ignore[arg-type]
    assert options.seen | {"truncate"} == set(task.options)
    assert set(task.options) <= {field.name for field in fields(Options)}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_packed_comes_back(name: TaskName) -> None:
    task = TASKS[name]
    text = TEXT if task.model in {"answer", "rerank", "zeroshot"} else TEXT[1]
    result = task.finish(text, [window()], True, Options(normalize=True), TRAITS)
    back = task.unpack(task.pack(result))
    assert repr(back) == repr(result)
    assert (back.tokens, back.truncated, back.windows) == (3, True, 1)
