"""Says how often a text is found that was asked for before, by the cache and by one that keeps what was used last.

Usage: python -m bench.hits [--requests N]

Both get the same requests and the same memory, enough for a part of all different texts; a text that is not found is
put. Entries are as large as those of a classifier and those of an embedding model. The words of the film reviews, in
their order, are a real sequence with the skew and the bursts of language; the others are drawn.
"""

import argparse
import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.labelled import sentiment
from bench.stats import spread
from bench.tables import spell, table
from headrace.cache.memory import MemoryCache, entry_bytes

_REQUESTS: Final = 200_000
_SEED: Final = 1
_TEXTS: Final = 20_000  # different ones, of those that are drawn
_PARTS: Final = (0.01, 0.1, 0.25)
_SIZES: Final[Mapping[str, int]] = {"labels": 120, "embeddings": 1600}  # bytes of a value
_AT_ONCE: Final = 50_000  # requests between two looks at the clock
_HEADER: Final = ("Requests for", "Room for", "Values", "Last used", "This cache", "Misses, times", "Time, times")


class LastUsed:
    """Keeps what was used last, within the same memory."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return a value or nothing for each key."""
        return [self._get(key) for key in keys]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values."""
        for key, value in entries.items():
            self._left -= entry_bytes(key, value)
            while self._left < 0:
                self._left += entry_bytes(*self._entries.popitem(last=False))
            self._entries[key] = value

    def _get(self, key: bytes) -> bytes | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cache did with a sequence.

    Attributes:
        hits: The part of the requests that were found.
        request_s: What each took.
    """

    hits: float
    request_s: list[float]


def skewed(chance: np.random.Generator, count: int, exponent: float) -> list[int]:
    """Draw texts, the n-th of which is asked for in proportion to ``1 / n ** exponent``."""
    weights = 1 / np.arange(1, _TEXTS + 1) ** exponent
    return [int(text) for text in chance.choice(_TEXTS, size=count, p=weights / weights.sum())]


def words(_: np.random.Generator, count: int) -> list[int]:
    """Return the words of the film reviews."""
    numbers: dict[str, int] = {}
    found = (word for row in sentiment() for word in re.findall(r"\w+", row["text"].lower()))
    return [numbers.setdefault(word, len(numbers)) for word in found][:count]


def with_a_job(chance: np.random.Generator, count: int) -> list[int]:
    """Return skewed requests, with as many between them, for a fifth of the time, for ever new texts."""
    requests = []
    for number, text in enumerate(skewed(chance, count, 1.0)):
        requests.append(text)
        if 2 * count // 5 <= number < 3 * count // 5:
            requests.append(_TEXTS + number)
    return requests


def changing(chance: np.random.Generator, count: int) -> list[int]:
    """Return skewed requests; which texts are wanted most is another thing after each twentieth."""
    requests: list[int] = []
    for _ in range(20):
        which = chance.permutation(_TEXTS)
        requests += [int(which[text]) for text in skewed(chance, count // 20, 1.0)]
    return requests


def twice(chance: np.random.Generator, count: int) -> list[int]:
    """Return two requests for each text, some 4,000 others between them."""
    texts = np.arange(count // 2)
    asked = np.concatenate([texts, texts + chance.exponential(2000, size=len(texts))])
    return [int(text) for text in np.concatenate([texts, texts])[np.argsort(asked, kind="stable")]]


SEQUENCES: Final[Mapping[str, Callable[[np.random.Generator, int], list[int]]]] = {
    "words of film reviews": words,
    "1 / n": lambda chance, count: skewed(chance, count, 1.0),
    "1 / n ** 0.8": lambda chance, count: skewed(chance, count, 0.8),
    "1 / n, beside a job over new texts": with_a_job,
    "1 / n, changing 20 times": changing,
    "each text twice": twice,
}


async def replay(cache: MemoryCache | LastUsed, requests: Sequence[bytes], value: bytes) -> Seen:
    """Ask a cache for each text, and put those that are not there."""
    hits, times = 0, []
    for start in range(0, len(requests), _AT_ONCE):
        some = requests[start : start + _AT_ONCE]
        begun = time.perf_counter()
        for key in some:
            if (await cache.get_many([key]))[0] is None:
                await cache.put_many({key: bytes(bytearray(value))})  # memory of its own
            else:
                hits += 1
        times.append((time.perf_counter() - begun) / len(some))
    return Seen(hits / len(requests), times)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.hits", description="Measure how often a text is found.")
    parser.add_argument("--requests", type=int, default=_REQUESTS, help=f"of a sequence; default {_REQUESTS:,}")
    asked = parser.parse_args()
    rows = []
    for name, draw in SEQUENCES.items():
        texts = draw(np.random.default_rng(_SEED), asked.requests)
        requests = [hashlib.sha256(b"%d" % text).digest() for text in texts]
        for kind, size in _SIZES.items():
            rows += [_row(name, requests, part, kind, bytes(size)) for part in _PARTS]
    print("\n".join(table(_HEADER, rows)))


def _row(name: str, requests: Sequence[bytes], part: float, kind: str, value: bytes) -> list[str]:
    room = round(part * len(set(requests)))
    max_bytes = room * entry_bytes(requests[0], value)
    last = asyncio.run(replay(LastUsed(max_bytes), requests, value))
    ours = asyncio.run(replay(MemoryCache(max_bytes), requests, value))
    return [
        name,
        f"{part:.0%}",
        kind,
        f"{last.hits:.1%}",
        f"{ours.hits:.1%}",
        f"{(1 - ours.hits) / (1 - last.hits):.2f}",
        spell(spread([one / other for one, other in zip(ours.request_s, last.request_s, strict=True)]), 2),
    ]


if __name__ == "__main__":
    main()
