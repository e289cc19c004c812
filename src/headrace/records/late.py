"""Records that are opened when they are needed."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from headrace.records.base import Change, IdempotentRequest, Key, Records


class LateRecords:
    """Opens records at the first use; as long as there are none, nothing is kept, and the first change makes them.

    So a server whose keys nobody made needs no place to write, and does not load what reads it.

    Args:
        open_records: Opens or makes them; may raise ``RecordsUnusable``, and is then called again at the next use.
        exist: Whether there are any.
    """

    def __init__(self, open_records: Callable[[], Records], exist: Callable[[], bool]) -> None:
        self._open_records = open_records
        self._exist = exist
        self._opened: Records | None = None
        self._opening = threading.Lock()

    def mark(self) -> int:
        """Return a number that is another one whenever a key was made or ended since; raises ``RecordsUnusable``."""
        return self._open().mark() if self._is_there() else 0

    def list_keys(self) -> list[Key]:
        """Return all keys in the order in which they were made; raises ``RecordsUnusable``."""
        return self._open().list_keys() if self._is_there() else []

    def write(self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()) -> None:
        """Keep a change together with what it did, or neither; raises ``RecordsUnusable``."""
        self._open().write(change, added=added, ended=ended)

    def list_changes(self, *, before: int | None, limit: int, tenant: str | None) -> list[Change]:
        """Return changes, the latest first; raises ``RecordsUnusable``."""
        return self._open().list_changes(before=before, limit=limit, tenant=tenant) if self._is_there() else []

    def begin(self, request: IdempotentRequest, *, since: datetime, most: int) -> IdempotentRequest | None:
        """Keep that a request begins, unless it did before; raises ``IdempotencyFull``, ``RecordsUnusable``."""
        return self._open().begin(request, since=since, most=most)

    def end(self, request: IdempotentRequest, answer: bytes | None) -> None:
        """Keep the answer of a request, or forget the request; raises ``RecordsUnusable``."""
        self._open().end(request, answer)

    def close(self) -> None:
        """Let go of connections and files."""
        if self._opened is not None:
            self._opened.close()

    def _is_there(self) -> bool:
        return self._opened is not None or self._exist()

    def _open(self) -> Records:
        with self._opening:
            if self._opened is None:
                self._opened = self._open_records()
            return self._opened
