"""What a server answered, read as what it should be: nothing of it is believed before it was looked at.

Answers come as fields by name, of JSON or of a message alike. What is there and is not known is left alone, as a newer
server may say more.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import numpy as np

from headrace.client.base import MOST_MESSAGE, ModelShown, Question
from headrace.errors import AnswerInvalid, HeadraceError, ServerFailed, errors_by_code
from headrace.types import (
    Classification,
    Entity,
    Extraction,
    Filling,
    Finding,
    FloatArray,
    Label,
    Mask,
    Ranking,
    Regression,
    Result,
    Similarity,
    Span,
    TaskName,
    Word,
)

R = TypeVar("R")

_MOST_FIELD: Final = 200  # characters of the name of a place
_LONGEST_S: Final = 86_400.0  # that a server may ask to wait
_KINDS: Final = errors_by_code()


def read_results(question: Question, answer: Any) -> tuple[str, list[Result]]:
    """Return the revision that answered, and the results.

    Raises:
        AnswerInvalid: They cannot be the answer to this question.
    """
    revision = _read(lambda: _text(answer, "revision"), "revision")
    rows = _read(lambda: _list(answer, "results"), "results")
    count = len(question.inputs)
    if question.task == "rerank":
        top_k = question.options.get("top_k")
        count = min(count, top_k) if isinstance(top_k, int) else count
    if len(rows) != count:
        raise AnswerInvalid(f"the server gave {len(rows)} results where {count} were asked for; is it a Headrace?")
    make = _READERS[question.task]
    results = [_read(lambda row=row: make(row), f"results[{index}]") for index, row in enumerate(rows)]  # type: ignore[misc]
    if question.task == "rerank":
        _check_places(results, len(question.inputs))
    return revision, results


def check_vectors(question: Question, values: FloatArray) -> FloatArray:
    """Return embeddings, if there is one for each input, and all are numbers.

    Raises:
        AnswerInvalid: They are not.
    """
    rows, columns = values.shape
    if rows != len(question.inputs) or not columns:
        raise AnswerInvalid(
            f"the server gave {rows} embeddings of {columns} numbers for {len(question.inputs)} texts;"
            " is it a Headrace?"
        )
    if not np.isfinite(values).all():
        raise AnswerInvalid("the server gave embeddings with NaN or infinity; is it a Headrace?")
    return values


def read_models(answer: Any) -> list[ModelShown]:
    """Return the models that are served.

    Raises:
        AnswerInvalid: The answer has no list of them.
    """
    rows = _read(lambda: _list(answer, "models"), "models")
    return [_read(lambda row=row: _model(row), f"models[{index}]") for index, row in enumerate(rows)]  # type: ignore[misc]


def make_error(code: object, message: object, field: object, retry_after_s: float | None) -> HeadraceError:
    """Return the error that a server names; ``ServerFailed`` if that is none we know."""
    kind = _KINDS.get(code) if isinstance(code, str) else None
    told = message[:MOST_MESSAGE] if isinstance(message, str) and message else "the server does not say why"
    place = field[:_MOST_FIELD] if isinstance(field, str) and field else None
    if retry_after_s is not None and not 0 <= retry_after_s <= _LONGEST_S:
        retry_after_s = None
    return (kind or ServerFailed)(told, field=place, retry_after_s=retry_after_s)


def _read(make: Callable[[], R], place: str) -> R:
    try:
        return make()
    except (KeyError, TypeError, ValueError) as error:
        what = f"has no {error.args[0]!r}" if isinstance(error, KeyError) else "is of another shape"
        raise AnswerInvalid(f"{place} of the server's answer {what}; is it a Headrace?") from error


def _check_places(results: list[Any], count: int) -> None:
    places = {result.index for result in results}
    if len(places) != len(results) or max(places, default=0) >= count:
        raise AnswerInvalid("the server ranked a text twice, or one that was not sent; is it a Headrace?")


def _text(fields: Any, name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _number(fields: Any, name: str) -> float:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(name)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(name)
    return number


def _count(fields: Any, name: str) -> int:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(name)
    if value < 0:
        raise ValueError(name)
    return value


def _truth(fields: Any, name: str) -> bool:
    value = fields[name]
    if not isinstance(value, bool):
        raise TypeError(name)
    return value


def _list(fields: Any, name: str) -> list[Any]:
    value = fields[name]
    if not isinstance(value, list):
        raise TypeError(name)
    return value


def _maybe(read: Callable[[Any, str], R], fields: Any, name: str) -> R | None:
    return None if fields[name] is None else read(fields, name)


def _place(fields: Any) -> dict[str, int]:
    start, end = _count(fields, "start"), _count(fields, "end")
    if end < start:
        raise ValueError("end")
    return {"start": start, "end": end}


def _counts(fields: Any) -> dict[str, Any]:
    return {
        "tokens": _count(fields, "tokens"),
        "truncated": _truth(fields, "truncated"),
        "windows": _count(fields, "windows"),
    }


def _answers(fields: Any) -> Finding:
    spans = (
        Span(score=_number(each, "score"), text=_text(each, "text"), **_place(each))
        for each in _list(fields, "answers")
    )
    return Finding(answers=tuple(spans), no_answer=_number(fields, "no_answer"), **_counts(fields))


def _labels(fields: Any) -> Classification:
    labels = (Label(_text(each, "label"), _number(each, "score")) for each in _list(fields, "labels"))
    return Classification(labels=tuple(labels), **_counts(fields))


def _entities(fields: Any) -> Extraction:
    entities = (
        Entity(label=_text(each, "label"), score=_number(each, "score"), text=_text(each, "text"), **_place(each))
        for each in _list(fields, "entities")
    )
    return Extraction(entities=tuple(entities), **_counts(fields))


def _masks(fields: Any) -> Filling:
    masks = (Mask(words=_words(each), **_place(each)) for each in _list(fields, "masks"))
    return Filling(masks=tuple(masks), **_counts(fields))


def _words(fields: Any) -> tuple[Word, ...]:
    return tuple(Word(_text(each, "text"), _number(each, "score")) for each in _list(fields, "words"))


_READERS: Final[Mapping[TaskName, Callable[[Any], Result]]] = {
    "answer": _answers,
    "classify": _labels,
    "extract": _entities,
    "fill": _masks,
    "regress": lambda fields: Regression(value=_number(fields, "value"), **_counts(fields)),
    "rerank": lambda fields: Ranking(index=_count(fields, "index"), score=_number(fields, "score"), **_counts(fields)),
    "similarity": lambda fields: Similarity(score=_number(fields, "score"), **_counts(fields)),
    "zeroshot": _labels,
}


def _model(fields: Any) -> ModelShown:
    labels, prompts = _list(fields, "labels"), fields["prompts"]
    if not isinstance(prompts, dict) or not all(
        isinstance(each, str) for each in (*labels, *prompts.keys(), *prompts.values())
    ):
        raise TypeError("labels")
    texts = {name: _text(fields, name) for name in _MODEL_TEXTS}
    return ModelShown(
        **texts,
        share=_maybe(_number, fields, "share"),
        dimensions=_count(fields, "dimensions"),
        labels=tuple(labels),
        mask=_maybe(_text, fields, "mask"),
        prompts=dict(prompts),
        max_tokens=_count(fields, "max_tokens"),
        normalize=_truth(fields, "normalize"),
        license=_maybe(_text, fields, "license"),
    )


_MODEL_TEXTS: Final = ("name", "revision", "role", "task", "runtime", "precision", "pooling", "source")
