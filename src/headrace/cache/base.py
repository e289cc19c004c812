"""The ports of what remembers, and what an entry is made of."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

KEY_BYTES: Final = 32


class Cache(Protocol):
    """Remembers bytes by key, as long as there is room.

    Best effort: ``get_many`` may miss what was put, and an outage is a miss, never an error. Values come back
    as they were put or not at all.
    """

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return a value or nothing for each key, in the order of the keys."""
        ...

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values."""
        ...


class Coming(Enum):
    """What is found for a key whose value another replica computes at present."""

    ELSEWHERE = "elsewhere"


class SharedCache(Protocol):
    """Remembers bytes by key for all replicas, and knows which of them computes what at present.

    Best effort, as a ``Cache``.
    """

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | Coming | None]:
        """Return what there is for each key, in the order of the keys.

        Where there is nothing, the others are told for a short while that this replica computes it: it should put the
        value, or give the key up.
        """
        ...

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values."""
        ...

    def give_up(self, keys: Collection[bytes]) -> None:
        """Tell the others that this replica does not compute the values of some keys after all."""
        ...


def make_key(*, revision: str, task: str, options: str, scope: str, texts: Sequence[str]) -> bytes:
    """Return the SHA-256 over all that decides an answer.

    Each part is preceded by its length, so no two lists of parts can spell the same key. ``scope`` keeps
    tenants apart: a shared entry would tell one caller, by its speed, what another has asked.
    """
    # A lone surrogate cannot come from JSON we accept; from Python it still gets a key of its own.
    parts = [part.encode("utf-8", "surrogatepass") for part in (revision, task, options, scope, *texts)]
    return hashlib.sha256(b"".join([len(part).to_bytes(8, "big") + part for part in parts])).digest()


def seal(key: bytes, value: bytes) -> bytes:
    """Put the key before the value, so that a reader can tell whose value it got."""
    return key + value


def unseal(key: bytes, entry: bytes | None) -> bytes | None:
    """Return the value if the entry belongs to the key, else nothing.

    A connection that was cancelled in the middle can hand out the answer to another question
    (redis-py CVE-2023-28858); an entry that names its key cannot be mistaken.
    """
    if entry is None or entry[:KEY_BYTES] != key:
        return None
    return entry[KEY_BYTES:]
