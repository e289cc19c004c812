"""The figures that a series of rounds is reduced to.

Medians with minimum and maximum, because rounds are few and their distribution is unknown: a mean with a
standard deviation would claim more. Two candidates are compared by the ratio within each round, so that a
machine that slows down in the middle slows both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_RESAMPLES: Final = 2000
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """What a few rounds gave.

    Attributes:
        low: The least value.
        high: The greatest value.
        count: Rounds.
    """

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Slope:
    """A least-squares slope with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def is_flat(self) -> bool:
        """Whether the data agree with no slope at all."""
        return self.low <= 0.0 <= self.high


def spread(values: Sequence[float]) -> Spread:
    """Reduce a series of rounds.

    Raises:
        ValueError: There is no round, or a figure is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"a spread needs finite values, got {list(values)!r}")
    return Spread(float(np.median(values)), min(values), max(values), len(values))


def median_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of a median, by resampling the rounds.

    Raises:
        ValueError: There is no round.
    """
    if not values:
        raise ValueError("an interval needs values")
    chooser = np.random.default_rng(seed)
    medians = np.median(chooser.choice(np.asarray(values), (_RESAMPLES, len(values))), axis=1)
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Reduce the ratios of two candidates that were measured in the same rounds.

    Raises:
        ValueError: The rounds do not correspond.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ratios need as many rounds of both, got {len(ours)} and {len(theirs)}")
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed (nearest rank).

    Interpolating between ranks would give a latency that nobody saw.

    Raises:
        ValueError: There are no values, or the share is outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"a percentile needs values and a share in (0, 1], got {len(values)} and {share!r}")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def slope(times: Sequence[float], values: Sequence[float], *, seed: int = 0) -> Slope:
    """Return the slope of a time series, with a confidence interval from a block bootstrap of its residuals.

    Memory samples follow each other: a sample is near the one before. Resampling them one by one would take
    them for independent and give an interval that is far too narrow, so whole blocks are drawn. A block of
    n ** (1/3) is the usual order of size (Hall, Horowitz and Jing, 1995).

    Args:
        times: When each value was taken; at least 8 of them.
        values: What was measured.
        seed: Of the resampling.

    Raises:
        ValueError: There are too few values, or the series differ in length.
    """
    minimum = 8
    if len(times) != len(values) or len(times) < minimum:
        raise ValueError(f"a slope needs {minimum} pairs or more, got {len(times)} times and {len(values)} values")
    x = np.asarray(times, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64)
    steepness, offset = np.polyfit(x, y, 1)
    fitted = steepness * x + offset
    residuals = y - fitted
    chooser = np.random.default_rng(seed)
    drawn = [_slope_of(x, fitted + _resample(residuals, chooser)) for _ in range(_RESAMPLES)]
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Slope(float(steepness), float(low), float(high))


def _slope_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def _resample(residuals: NDArray[np.float64], chooser: np.random.Generator) -> NDArray[np.float64]:
    count = len(residuals)
    block = max(2, round(count ** (1 / 3)))
    starts = chooser.integers(0, count - block + 1, size=math.ceil(count / block))
    return np.concatenate([residuals[start : start + block] for start in starts])[:count]
