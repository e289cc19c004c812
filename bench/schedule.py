"""When an open-loop load sends its requests: decided beforehand, whatever the server does."""

import random
from collections.abc import Sequence


def arrivals(rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    """Return the times of a Poisson process: callers who know nothing of each other.

    Args:
        rate_per_s: Requests a second, on average.
        duration_s: No arrival is later.
        seed: Of the draw.

    Raises:
        ValueError: The rate or the duration is not positive.
    """
    if rate_per_s <= 0 or duration_s <= 0:
        raise ValueError(f"a load needs a rate and a duration over 0, got {rate_per_s!r} and {duration_s!r}")
    chooser = random.Random(seed)
    times: list[float] = []
    now = chooser.expovariate(rate_per_s)
    while now < duration_s:
        times.append(now)
        now += chooser.expovariate(rate_per_s)
    return times


def chunks(texts: Sequence[str], size: int) -> list[list[str]]:
    """Cut the texts into requests of ``size``; the last one may be smaller."""
    return [list(texts[start : start + size]) for start in range(0, len(texts), size)]
