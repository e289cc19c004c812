"""What our own API says, over REST and gRPC alike: how a body becomes a question, and an answer its fields."""

import functools
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from headrace.api.asked import Asked
from headrace.api.schemas import Inputs
from headrace.options import Options
from headrace.tasks import spell
from headrace.types import Answer, Result, TaskName


def ask_task(task: TaskName, body: Inputs) -> Asked:
    """Return what the service is asked."""
    asked: Asked = {
        "task": task,
        "inputs": tuple(body.inputs),
        "labels": body.asked_labels(),
        "model": body.model,
        "options": _read_options(body.options) if body.options.model_fields_set else _untouched(type(body.options)),
    }
    if (query := body.asked_query()) is not None:
        asked["query"] = query
    return asked


def _read_options(options: BaseModel) -> Options:
    return Options(**vars(options))  # a model of pydantic makes a dict of itself in 5 µs


@functools.cache
def _untouched(shape: type[BaseModel]) -> Options:
    """Return the options of whom chose none, as most."""
    return _read_options(shape())


def spell_answer(answer: Answer, spell: Callable[[TaskName, Result], Any] = spell) -> dict[str, Any]:
    """Return the fields of an answer; embeddings are arrays.

    Args:
        answer: Of the service.
        spell: Returns the fields of a result, as whoever writes them wants them.
    """
    timings = answer.timings
    return {
        "model": answer.model,
        "revision": answer.revision,
        "task": answer.task,
        "results": [spell(answer.task, result) for result in answer.results],
        "usage": {"tokens": answer.tokens, "cached": answer.cached},
        "timings_ms": {
            "queue": _ms(timings.queue_s),
            "tokenize": _ms(timings.tokenize_s),
            "run": _ms(timings.run_s),
            "total": _ms(timings.total_s),
        },
    }


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1000  # ``round`` takes as long as all else here
