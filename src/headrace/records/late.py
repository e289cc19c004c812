"""Records that are opened when they are needed."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from headrace.records.accounts import AllRecords, Login, User
from headrace.records.base import Change, IdempotentRequest, Key


class LateRecords:
    """Opens records at the first use; as long as there are none, nothing is kept, and the first change makes them.

    So a server whose keys nobody made needs no place to write, and does not load what reads it.

    Args:
        open_records: Opens or makes them; may raise ``RecordsUnusable``, and is then called again at the next use.
        exist: Whether there are any.
    """

    def __init__(self, open_records: Callable[[], AllRecords], exist: Callable[[], bool]) -> None:
        self._open_records = open_records
        self._exist = exist
        self._opened: AllRecords | None = None
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

    def list_users(self) -> list[User]:
        """Return all users in the order in which they were made; raises ``RecordsUnusable``."""
        return self._open().list_users() if self._is_there() else []

    def list_revoked(self) -> frozenset[str]:
        """Return the ids of tokens and logins that were revoked; raises ``RecordsUnusable``."""
        return self._open().list_revoked() if self._is_there() else frozenset()

    def write_users(
        self,
        change: Change,
        *,
        added: Sequence[User] = (),
        verifiers: Mapping[str, str] | None = None,
        removed: Collection[str] = (),
    ) -> None:
        """Keep a change of users, or nothing of it; raises ``RecordsUnusable``."""
        self._open().write_users(change, added=added, verifiers=verifiers, removed=removed)

    def revoke(self, change: Change, ids: Collection[str]) -> None:
        """Revoke tokens, and logins with all their tokens; raises ``RecordsUnusable``."""
        self._open().revoke(change, ids)

    def open_login(self, login: Login, user: User, most: int) -> bool:
        """Keep a login if its user is still as they were known; raises ``RecordsUnusable``."""
        return self._open().open_login(login, user, most)

    def find_login(self, root: bytes, now: datetime) -> Login | None:
        """Return the login whose refresh tokens have that in common; raises ``RecordsUnusable``."""
        return self._open().find_login(root, now) if self._is_there() else None

    def turn_login(self, login_id: str, shown: bytes, following: bytes) -> bool:
        """Let the next refresh token of a login be good; raises ``RecordsUnusable``."""
        return self._open().turn_login(login_id, shown, following)

    def close(self) -> None:
        """Let go of connections and files."""
        if self._opened is not None:
            self._opened.close()

    def _is_there(self) -> bool:
        return self._opened is not None or self._exist()

    def _open(self) -> AllRecords:
        with self._opening:
            if self._opened is None:
                self._opened = self._open_records()
            return self._opened
