"""Questions from a file of the user's, or from the texts that a model carries to be compared with."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headrace.engine.agreement import read_reference
from headrace.errors import DataInvalid, DataUnfit, TaskUnsupported
from headrace.models.folder import ModelFolder
from headrace.models.manifest import Manifest
from headrace.optimize.questions import Choices, Classes, Entities, Questions, Readings, Searches, choices_among
from headrace.training.columns import Columns
from headrace.training.data import read_examples
from headrace.training.examples import Example, lines, sides
from headrace.training.tables import Row, Table, text_of
from headrace.training.tags import character_spans, with_beginnings
from headrace.types import ModelTask, parts_of

_MOST: Final = 2000  # asked of each variant; the share of right answers is then known to 1 %
_SEED: Final = 20261128
_THRESHOLD: Final = 0.5  # a label that may hold beside others is told if it is likelier than not

Read = Callable[[Table, Mapping[str, str], Manifest], Iterable[Example[Any]]]


def read_questions(path: Path, chosen: Mapping[str, str], manifest: Manifest) -> tuple[Questions, Sequence[str]]:
    """Return what a file asks of a model, and what was noticed on the way.

    Args:
        path: CSV, TSV, JSON Lines, Parquet or CoNLL.
        chosen: Columns that the user named, by role.
        manifest: The model's.

    Raises:
        DataMissing: There is no such file.
        DataInvalid: It is none that is read here, lacks a column, or has a broken row.
        DataUnfit: It has labels that the model does not know.
        TaskUnsupported: Models of this task are not compared.
    """
    read = _readers(manifest.task)
    examples, noticed = read_examples(
        path,
        lambda table: _find_columns(table, chosen, manifest.task),
        lambda table, named: read(table, named, manifest),
    )
    if len(examples) > _MOST:
        examples = random.Random(_SEED).sample(examples, _MOST)  # noqa: S311 - no secret
        noticed.append(f"{path.name}: {_MOST:,} of its texts were drawn")
    return _as_questions(manifest, examples), noticed


def carried_questions(folder: ModelFolder) -> Questions:
    """Return the texts that a model is compared with its original by, as questions without known answers.

    Raises:
        ModelCorrupt: The model carries none.
        TaskUnsupported: Models of this task are not compared.
    """
    _readers(folder.manifest.task)
    texts = read_reference(folder.reference).texts
    return _as_questions(folder.manifest, [Example(text, None, number) for number, text in enumerate(texts, 1)])


def _readers(task: ModelTask) -> Read:
    if task not in _READERS:
        raise TaskUnsupported(
            f"models that do {task!r} are not compared yet; those that do {', '.join(sorted(_READERS))} are",
            field="model",
        )
    return _READERS[task]


_COLUMNS: Final[Mapping[ModelTask, Sequence[str]]] = {
    "classify": ("text", "label"),
    "embed": ("query", "passage"),
    "extract": ("words", "tags"),
    "regress": ("text", "value"),
    "rerank": ("query", "passage"),
}


def _find_columns(table: Table, chosen: Mapping[str, str], task: ModelTask) -> dict[str, str]:
    """Return the columns of texts and answers, or if there are no answers that of texts."""
    roles = _COLUMNS[task]
    found = Columns((), roles, chosen).find(table)
    if len(found) == len(roles):
        return found
    return Columns(roles if task == "rerank" else ("text",), (), chosen).find(table)


def _texts(table: Table, named: Mapping[str, str]) -> Iterable[Example[Any]]:
    return (Example(text_of(table, row, named["text"]), None, row.line) for row in table.rows)


def _read_classes(table: Table, named: Mapping[str, str], manifest: Manifest) -> Iterable[Example[Any]]:
    if "label" not in named:
        return _texts(table, named)
    examples = [
        Example(text_of(table, row, named["text"]), _labels_of(table, row, named["label"], manifest), row.line)
        for row in table.rows
    ]
    if unknown := [each for each in examples if not each.target <= set(manifest.labels)]:
        raise DataUnfit(
            f"{table.path.name}: {lines([each.line for each in unknown])} a label that {manifest.name!r} does not know,"
            f" such as {min(unknown[0].target - set(manifest.labels))[:40]!r}; those it knows are"
            f" {', '.join(manifest.labels[:12])}"
        )
    return examples


def _labels_of(table: Table, row: Row, column: str, manifest: Manifest) -> frozenset[str]:
    value = row.values.get(column)
    if manifest.function == "sigmoid":
        names = value if isinstance(value, list) else str(value or "").split("|")
        return frozenset(str(name).strip() for name in names) - {""}
    return frozenset({text_of(table, row, column).strip()})


def _read_pairs(table: Table, named: Mapping[str, str], _manifest: Manifest) -> Iterable[Example[Any]]:
    if "passage" not in named:
        return _texts(table, named)
    roles = ("query", "passage")
    return [Example(_pair(text_of(table, row, named[role]) for role in roles), True, row.line) for row in table.rows]


def _pair(texts: Iterable[str]) -> tuple[str, str]:
    first, second = texts
    return first, second


def _read_entities(table: Table, named: Mapping[str, str], _manifest: Manifest) -> Iterable[Example[Any]]:
    if "tags" not in named:
        return _texts(table, named)
    return [_sentence(table, row, named) for row in table.rows]


def _sentence(table: Table, row: Row, named: Mapping[str, str]) -> Example[Any]:
    words, tags = row.values.get(named["words"]), row.values.get(named["tags"])
    if not isinstance(words, list | tuple) or not isinstance(tags, list | tuple) or len(words) != len(tags):
        raise DataInvalid(f"{table.path.name}, line {row.line}: words and tags are no two lists of the same length")
    spans = character_spans([str(word) for word in words], with_beginnings([str(tag) for tag in tags]))
    return Example(" ".join(map(str, words)), frozenset(spans), row.line)


def _read_numbers(table: Table, named: Mapping[str, str], _manifest: Manifest) -> Iterable[Example[Any]]:
    if "value" not in named:
        return _texts(table, named)
    return [
        Example(text_of(table, row, named["text"]), _number(table, row, named["value"]), row.line) for row in table.rows
    ]


def _number(table: Table, row: Row, column: str) -> float:
    try:
        return float(row.values.get(column) or "")
    except (TypeError, ValueError) as error:
        raise DataInvalid(f"{table.path.name}, line {row.line}: {column} is no number") from error


_READERS: Final[Mapping[ModelTask, Read]] = {
    "classify": _read_classes,
    "embed": _read_pairs,
    "extract": _read_entities,
    "regress": _read_numbers,
    "rerank": _read_pairs,
}


def _as_questions(manifest: Manifest, examples: Sequence[Example[Any]]) -> Questions:
    """Return examples as questions; their targets are what is true, None where that is not known."""
    if manifest.task == "rerank":
        return _as_choices(examples)
    firsts = tuple(parts_of(each.text)[0] for each in examples)
    truth = tuple(each.target for each in examples if each.target is not None)
    if manifest.task == "embed":
        return Searches(firsts, tuple(sides(examples)[1]) if truth else ())
    if manifest.task == "classify":
        return Classes(firsts, truth, _THRESHOLD if manifest.function == "sigmoid" else None)
    if manifest.task == "extract":
        return Entities(firsts, tuple(set(spans) for spans in truth))
    return Readings(firsts, truth)


def _as_choices(pairs: Sequence[Example[Any]]) -> Choices:
    return choices_among(*sides(pairs), has_truth=any(pair.target for pair in pairs))
