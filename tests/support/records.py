"""Records in memory, which can be gone."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from headrace.errors import RecordsUnusable
from headrace.records.base import Change, Key


class MemoryRecords:
    """Keeps keys and changes as long as it lives.

    Attributes:
        is_gone: Whether nothing can be read or written.
    """

    def __init__(self) -> None:
        self.is_gone = False
        self._mark = 0
        self._keys: dict[str, Key] = {}
        self._changes: list[Change] = []

    def mark(self) -> int:
        """Return a number that is another one whenever a key was made or ended since."""
        self._require()
        return self._mark

    def list_keys(self) -> list[Key]:
        """Return all keys."""
        self._require()
        return list(self._keys.values())

    def write(self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()) -> None:
        """Keep a change together with what it did."""
        self._require()
        if any(key.id in self._keys for key in added):
            raise RecordsUnusable("a key has that id")
        self._mark += bool(added or ended)
        self._keys.update({key.id: key for key in added})
        for key_id, ends_at in ended:
            key = self._keys.get(key_id)
            if key is not None and (key.ends_at is None or key.ends_at > ends_at):
                self._keys[key_id] = dataclasses.replace(key, ends_at=ends_at)
        self._changes.append(dataclasses.replace(change, number=len(self._changes) + 1))

    def list_changes(self, *, before: int | None, limit: int, tenant: str | None) -> list[Change]:
        """Return changes, the latest first."""
        self._require()
        found = [
            change
            for change in reversed(self._changes)
            if (before is None or change.number < before) and tenant in {None, change.tenant}
        ]
        return found[:limit]

    def close(self) -> None:
        """Let go of nothing."""

    def _require(self) -> None:
        if self.is_gone:
            raise RecordsUnusable("the records are gone", retry_after_s=1)
