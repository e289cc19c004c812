"""Records in memory, which can be gone."""

import dataclasses
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from headrace.errors import IdempotencyFull, RecordsUnusable
from headrace.records.accounts import LONGEST_TOKEN, Login, User
from headrace.records.base import Change, IdempotentRequest, Key


class MemoryRecords:
    """Keeps keys, changes, users, logins and requests as long as it lives.

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
        self._users: dict[str, User] = {}
        self._logins: dict[str, Login] = {}
        self._revoked: dict[str, datetime] = {}
        self._turning = threading.Lock()

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
        self._note(change)

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

    def list_users(self) -> list[User]:
        """Return all users."""
        self._require()
        return list(self._users.values())

    def list_revoked(self) -> frozenset[str]:
        """Return the ids of what was revoked."""
        self._require()
        return frozenset(self._revoked)

    def write_users(
        self,
        change: Change,
        *,
        added: Sequence[User] = (),
        verifiers: Mapping[str, str] | None = None,
        removed: Collection[str] = (),
    ) -> None:
        """Keep a change of users."""
        self._require()
        if {user.name for user in added} & {user.name for user in self._users.values()}:
            raise RecordsUnusable("a user has that name")
        self._mark += 1
        self._users.update({user.id: user for user in added})
        for user_id, verifier in (verifiers or {}).items():
            self._users[user_id] = dataclasses.replace(self._users[user_id], verifier=verifier)
        for user_id in removed:
            self._users.pop(user_id, None)
        theirs = {*(verifiers or {}), *removed}
        self._revoke(change, [login.id for login in self._logins.values() if login.user_id in theirs])
        self._note(change)

    def revoke(self, change: Change, ids: Collection[str]) -> None:
        """Revoke tokens and logins."""
        self._require()
        self._mark += 1
        self._revoke(change, ids)
        self._note(change)

    def open_login(self, login: Login, user: User, most: int) -> bool:
        """Keep a login if its user is still as they were known."""
        self._require()
        if self._users.get(user.id) != user:
            return False
        theirs = [each.id for each in self._logins.values() if each.user_id == user.id]
        for login_id in theirs[: max(0, len(theirs) + 1 - most)]:
            del self._logins[login_id]
        self._logins[login.id] = login
        return True

    def find_login(self, root: bytes, now: datetime) -> Login | None:
        """Return the login whose refresh tokens have that in common."""
        self._require()
        return next((each for each in self._logins.values() if each.root == root and each.ends_at > now), None)

    def turn_login(self, login_id: str, shown: bytes, following: bytes) -> bool:
        """Let the next refresh token of a login be good."""
        self._require()
        with self._turning:
            login = self._logins.get(login_id)
            if login is None or login.digest != shown:
                return False
            self._logins[login_id] = dataclasses.replace(login, digest=following)
            return True

    def close(self) -> None:
        """Let go of nothing."""

    def _revoke(self, change: Change, ids: Collection[str]) -> None:
        self._revoked = {each: until for each, until in self._revoked.items() if until > change.at}
        for each in ids:
            self._revoked.setdefault(each, change.at + LONGEST_TOKEN)
            self._logins.pop(each, None)

    def _note(self, change: Change) -> None:
        self._changes.append(dataclasses.replace(change, number=len(self._changes) + 1))

    def _require(self) -> None:
        if self.is_gone:
            raise RecordsUnusable("the records are gone", retry_after_s=1)


def _name(request: IdempotentRequest) -> tuple[str, str, bytes]:
    return request.tenant, request.caller, request.key
