"""How good answers are: the usual figures, from arrays of what was said and what is true."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]


def confusion(truth: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how often each class (row) was taken for each (column), shape ``(classes, classes)``."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, found), 1)
    return table


def accuracy(table: NDArray[np.int64]) -> float:
    """Return the share of right answers in a confusion table."""
    return float(np.trace(table) / table.sum())


def macro_f1(table: NDArray[np.int64]) -> float:
    """Return the mean over the classes of F1, so that a rare class counts as much as a frequent one."""
    right = np.diag(table)
    return float(np.mean(_f1(right, table.sum(axis=0) - right, table.sum(axis=1) - right)))


def micro_f1(truth: Flags, found: Flags) -> float:
    """Return F1 over all labels of all texts, both of shape ``(n, labels)``."""
    right, said, wanted = (np.asarray(np.count_nonzero(flags)) for flags in (truth & found, found, truth))
    return float(_f1(right, said - right, wanted - right))


def exact_match(truth: Flags, found: Flags) -> float:
    """Return the share of texts all of whose labels are right."""
    return float(np.mean(np.all(truth == found, axis=1)))


def span_f1(truth: Sequence[set[tuple[int, int, str]]], found: Sequence[set[tuple[int, int, str]]]) -> float:
    """Return F1 over the spans of all texts; one is right if its borders and its label are, as in CoNLL 2003."""
    right = sum(len(wanted & given) for wanted, given in zip(truth, found, strict=True))
    given, wanted = sum(map(len, found)), sum(map(len, truth))
    return float(_f1(np.asarray(right), np.asarray(given - right), np.asarray(wanted - right)))


def pearson(truth: Numbers, found: Numbers) -> float:
    """Return the correlation, 0 where one of them does not vary."""
    left, right = truth - truth.mean(), found - found.mean()
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / scale if scale else 0.0


def spearman(truth: Numbers, found: Numbers) -> float:
    """Return the correlation of the ranks; equal values share the mean of theirs."""
    return pearson(_ranks(truth), _ranks(found))


def rmse(truth: Numbers, found: Numbers) -> float:
    """Return the root of the mean squared difference."""
    return float(np.sqrt(np.mean((truth - found) ** 2)))


def ranks_of(scores: NDArray[np.float32], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of the wanted column in each row, from 1 for the greatest; equal ones before it count.

    Args:
        scores: Shape ``(n, m)``.
        wanted: A column for each row.
    """
    own = np.take_along_axis(scores, wanted[:, None], axis=1)
    return np.asarray((scores >= own).sum(axis=1), np.int64)


def mean_reciprocal_rank(ranks: NDArray[np.int64]) -> float:
    """Return the mean of one divided by the place."""
    return float(np.mean(1.0 / ranks))


def recall_at(ranks: NDArray[np.int64], count: int) -> float:
    """Return the share of those whose place is among the first."""
    return float(np.mean(ranks <= count))


def r2(truth: Numbers, found: Numbers) -> float:
    """Return the share of the variance that is explained; 0 is as good as always saying the mean."""
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1.0 - float(np.sum((truth - found) ** 2)) / spread if spread else 0.0


def _f1(right: NDArray[np.int64], wrong: NDArray[np.int64], missed: NDArray[np.int64]) -> Numbers:
    # 2 P R / (P + R), written so that nothing is divided by zero; nothing to find and nothing found is 0 by convention
    return np.asarray(2 * right / np.maximum(2 * right + wrong + missed, 1), np.float64)


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)
