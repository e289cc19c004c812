"""What a model is asked to be judged, and how its answers are: beside the truth, or beside those in float32."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

import numpy as np

from headrace.library import Model
from headrace.training import metrics
from headrace.types import FloatArray

_OTHERS: Final = 9  # passages that a right one stands among, where the data say only which is right

Spans = set[tuple[int, int, str]]
Truth = TypeVar("Truth")


class Questions(Protocol):
    """Texts of one task, and perhaps what is true of them."""

    @property
    def metric(self) -> str | None:
        """Name of the task's own figure; nothing if the truth is not known."""
        ...

    @property
    def agreement(self) -> str:
        """Name of the figure that compares answers with those in float32."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """Every text."""
        ...

    def __len__(self) -> int: ...

    def first(self, count: int) -> Self:
        """Return as many of the questions."""
        ...

    def ask(self, model: Model) -> Any:
        """Return a model's answers."""
        ...

    def score(self, answers: Any) -> float:
        """Return the task's figure; 1 is best."""
        ...

    def agree(self, exact: Any, answers: Any) -> float:
        """Return how far answers are those in float32; 1 if they are the same."""
        ...


@dataclass(frozen=True, slots=True)
class Searches:
    """Texts to embed: questions, and for each perhaps the passage that answers it among those of all."""

    queries: tuple[str, ...]
    passages: tuple[str, ...] = ()
    agreement: str = "least cosine"

    @property
    def metric(self) -> str | None:
        """Recall@1, where passages are known."""
        return "recall@1" if self.passages else None

    @property
    def texts(self) -> Sequence[str]:
        """Every text once."""
        return tuple(dict.fromkeys((*self.queries, *self.passages)))

    def __len__(self) -> int:
        return len(self.queries)

    def first(self, count: int) -> "Searches":
        """Return as many of the questions."""
        return replace(self, queries=self.queries[:count], passages=self.passages[:count])

    def ask(self, model: Model) -> FloatArray:
        """Return the vectors of all texts, of length 1, so that products are cosines."""
        return model.embed(self.texts, truncate="truncate", normalize=True)

    def score(self, answers: FloatArray) -> float:
        """Return the share of questions whose passage is the nearest."""
        place = {text: number for number, text in enumerate(self.texts)}
        passages = list(dict.fromkeys(self.passages))
        known = answers[[place[text] for text in passages]]
        asked = answers[[place[text] for text in self.queries]]
        wanted = np.array([passages.index(text) for text in self.passages])
        return metrics.recall_at(metrics.ranks_of(asked @ known.T, wanted), 1)

    def agree(self, exact: FloatArray, answers: FloatArray) -> float:
        """Return the least cosine."""
        return float((exact * answers).sum(axis=1).min())


@dataclass(frozen=True, slots=True)
class _Texts(Generic[Truth]):
    """Texts, and perhaps what is true of each."""

    texts: tuple[str, ...]
    truth: tuple[Truth, ...] = ()

    figure: ClassVar[str]

    @property
    def metric(self) -> str | None:
        """Name of the task's figure, where the truth is known."""
        return self.figure if self.truth else None

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int) -> Self:
        """Return as many of the questions."""
        return replace(self, texts=self.texts[:count], truth=self.truth[:count])


@dataclass(frozen=True, slots=True)
class Classes(_Texts[frozenset[str]]):
    """Texts, and perhaps the labels that each has."""

    figure: ClassVar[str] = "accuracy"
    threshold: float | None = None
    agreement: str = "same labels"

    def ask(self, model: Model) -> list[frozenset[str]]:
        """Return the labels of each text: the best, or those that are likelier than not where several may hold."""
        top_k = 1 if self.threshold is None else None
        found = model.classify(self.texts, top_k=top_k, threshold=self.threshold, truncate="truncate")
        return [frozenset(label.name for label in one.labels) for one in found]

    def score(self, answers: list[frozenset[str]]) -> float:
        """Return the share of right ones."""
        return _share_equal(self.truth, answers)

    def agree(self, exact: list[frozenset[str]], answers: list[frozenset[str]]) -> float:
        """Return the share of texts with the same labels."""
        return _share_equal(exact, answers)


@dataclass(frozen=True, slots=True)
class Entities(_Texts[Spans]):
    """Texts, and perhaps the spans in each."""

    figure: ClassVar[str] = "span F1"
    agreement: str = "span F1 with fp32"

    def ask(self, model: Model) -> list[Spans]:
        """Return the spans of each text."""
        found = model.extract(self.texts, aggregation="first", truncate="truncate")
        return [{(each.start, each.end, each.label) for each in one.entities} for one in found]

    def score(self, answers: list[Spans]) -> float:
        """Return F1 of the spans."""
        return metrics.span_f1(self.truth, answers)

    def agree(self, exact: list[Spans], answers: list[Spans]) -> float:
        """Return F1 beside the spans in float32."""
        return metrics.span_f1(exact, answers) if any(exact) or any(answers) else 1.0


@dataclass(frozen=True, slots=True)
class Readings(_Texts[float]):
    """Texts, and perhaps the number that each has."""

    figure: ClassVar[str] = "rank correlation"
    agreement: str = "rank correlation with fp32"

    def ask(self, model: Model) -> list[float]:
        """Return the number of each text."""
        return [one.value for one in model.regress(self.texts, truncate="truncate")]

    def score(self, answers: list[float]) -> float:
        """Return the correlation of the ranks."""
        return metrics.spearman(np.array(self.truth), np.array(answers))

    def agree(self, exact: list[float], answers: list[float]) -> float:
        """Return the correlation of the ranks with those in float32."""
        return metrics.spearman(np.array(exact), np.array(answers))


@dataclass(frozen=True, slots=True)
class Choices:
    """Queries, each with passages to put in order; where ``has_truth``, the first of them is the right one."""

    queries: tuple[str, ...]
    passages: tuple[tuple[str, ...], ...]
    has_truth: bool = False
    agreement: str = "rank correlation with fp32"

    @property
    def metric(self) -> str | None:
        """Recall@1, where it is known which passage is right."""
        return "recall@1" if self.has_truth else None

    @property
    def texts(self) -> Sequence[str]:
        """Every text once."""
        return tuple(dict.fromkeys((*self.queries, *(text for some in self.passages for text in some))))

    def __len__(self) -> int:
        return len(self.queries)

    def first(self, count: int) -> "Choices":
        """Return as many of the questions."""
        return replace(self, queries=self.queries[:count], passages=self.passages[:count])

    def ask(self, model: Model) -> list[list[float]]:
        """Return the score of each passage of each query."""
        return [
            [one.score for one in sorted(model.rerank(some, query, truncate="truncate"), key=lambda one: one.index)]
            for query, some in zip(self.queries, self.passages, strict=True)
        ]

    def score(self, answers: list[list[float]]) -> float:
        """Return the share of queries whose right passage comes first."""
        return float(np.mean([scores[0] > max(scores[1:], default=-np.inf) for scores in answers]))

    def agree(self, exact: list[list[float]], answers: list[list[float]]) -> float:
        """Return the correlation of the ranks of all scores with those in float32."""
        return metrics.spearman(np.concatenate(exact), np.concatenate(answers))


def choices_among(queries: Sequence[str], answers: Sequence[str], *, has_truth: bool) -> Choices:
    """Return queries whose right passage stands among those that answer the next ones."""
    count = len(answers)
    some = [
        tuple(dict.fromkeys(answers[(number + step) % count] for step in range(min(count, _OTHERS + 1))))
        for number in range(count)
    ]
    return Choices(tuple(queries), tuple(some), has_truth)


def _share_equal(left: Sequence[object], right: Sequence[object]) -> float:
    return float(np.mean([one == other for one, other in zip(left, right, strict=True)]))
