"""Records in memory, which can be gone."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from headrace.errors import IdempotencyFull, RecordsUnusable
from headrace.records.base import Change, IdempotentRequest, Key


class MemoryRecords:
    """Keeps keys, changes and requests as long as it lives.

    Attributes:
        is_gone: Whether nothing can be read or written.
        requests: Those that are done once, by tenant, caller and key.
    """

    def __init__(self) -> None:
        self.is_gone = False
        self._mark = 0
        self._keys: dict[str, Key] = {}
        self._changes: list[Change] = []
        self.requests: dict[tuple[str, str, bytes], IdempotentRequest] = {}

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

    def begin(self, request: IdempotentRequest, *, since: datetime, most: int) -> IdempotentRequest | None:
        """Keep that a request begins, unless it did before."""
        self._require()
        self.requests = {name: each for name, each in self.requests.items() if each.at >= since}
        if (known := self.requests.get(_name(request))) is not None:
            return known
        own = [each.at for name, each in self.requests.items() if name[:2] == _name(request)[:2]]
        if len(own) >= most:
            raise IdempotencyFull("there are too many", retry_after_s=(min(own) - since).total_seconds())
        self.requests[_name(request)] = request
        return None

    def end(self, request: IdempotentRequest, answer: bytes | None) -> None:
        """Keep the answer of a request, or forget the request."""
        self._require()
        if answer is None:
            self.requests.pop(_name(request), None)
        elif _name(request) in self.requests:
            self.requests[_name(request)] = dataclasses.replace(self.requests[_name(request)], answer=answer)

    def close(self) -> None:
        """Let go of nothing."""

    def _require(self) -> None:
        if self.is_gone:
            raise RecordsUnusable("the records are gone", retry_after_s=1)


def _name(request: IdempotentRequest) -> tuple[str, str, bytes]:
    return request.tenant, request.caller, request.key
