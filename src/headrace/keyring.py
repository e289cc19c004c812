"""Makes, shows, rotates and ends API keys, and keeps what is admitted at what the records say.

Nobody can give more than they have: a key is made with no scope, no model and for no tenant that its maker has not,
unless that is an ``admin``. What one replica does, the others see when they look again.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

from headrace.auth.base import is_over, require
from headrace.auth.giving import require_within, settle_powers
from headrace.errors import KeyEnded, KeyUnknown, RecordsUnusable, RequestInvalid
from headrace.following import Following
from headrace.records.accounts import AllRecords, User
from headrace.records.base import Change, Key
from headrace.records.journal import change_by
from headrace.types import Caller, Scope

PREFIX: Final = "hr_"
"""What a key begins with, so that a scanner of secrets finds one that was published."""
_ID_BYTES: Final = 5  # 10 hex digits: two of a million keys are alike once in two
_SECRET_BYTES: Final = 32
_LONGEST_NAME: Final = 64
LONGEST: Final = timedelta(days=3660)
"""For which a key may last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a key shall be.

    Attributes:
        tenant: ``None`` for that of its maker.
        models: ``None`` for those of its maker.
        lasts_s: ``None`` for ever.
    """

    name: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    tenant: str | None = None
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made.

    Attributes:
        text: The key itself: whoever made it gets it now, and nobody ever again.
    """

    key: Key
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.key!r})"


class Learner(Protocol):
    """A guard that can be told which keys there are."""

    def learn_fixed(self, keys: Iterable[str]) -> None:
        """Know these keys of the settings, and none from before."""
        ...

    def learn_kept(self, keys: Iterable[Key]) -> None:
        """Know these keys of the records, and none from before."""
        ...


class AccountLearner(Protocol):
    """What can be told whom tokens are for."""

    def learn(self, keys: Iterable[Key], users: Iterable[User], revoked: frozenset[str]) -> None:
        """Know these keys, users and ids of what was revoked, and none from before."""
        ...


class Keyring:
    """The keys that are kept.

    Args:
        records: Where they are kept, and users beside them.
        guard: Told of them.
        read_fixed: Returns the keys of the settings, whose file may have changed.
        digest: Returns what is kept of a key.
        standing: Told of them and of users.
    """

    def __init__(
        self,
        records: AllRecords,
        guard: Learner,
        read_fixed: Callable[[], Sequence[str]],
        digest: Callable[[str], bytes],
        standing: AccountLearner,
    ) -> None:
        self._records = records
        self._guard = guard
        self._read_fixed = read_fixed
        self._digest = digest
        self._standing = standing
        self._mark = -1
        self._following = Following(self.settle, "keys.unread", attrgetter("code"))
        self._settling = asyncio.Lock()  # what was read first must not be learnt last

    async def settle(self) -> None:
        """Let the guard know the keys that there are now.

        Raises:
            RecordsUnusable: They cannot be read.
            SettingInvalid: Those of the settings cannot.
        """
        # Each for itself: a file that cannot be read must not keep a key known that was revoked.
        outcomes = await asyncio.gather(self._settle_kept(), self._settle_fixed(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def settle_soon(self) -> None:
        """Let the guard know at once what was just written."""
        # It is done: if it cannot be read at once, it is when this replica looks again, as the others do.
        with contextlib.suppress(RecordsUnusable):
            await self._settle_kept()

    async def _settle_fixed(self) -> None:
        self._guard.learn_fixed(await asyncio.to_thread(self._read_fixed))

    async def _settle_kept(self) -> None:
        async with self._settling:
            mark = await asyncio.to_thread(self._records.mark)
            if mark != self._mark:
                # The mark first: a key that is made in between is seen now, and looked at once more.
                keys, users, revoked = await asyncio.to_thread(self._read_kept)
                self._guard.learn_kept(keys)
                self._standing.learn(keys, users, revoked)
                self._mark = mark

    def _read_kept(self) -> tuple[list[Key], list[User], frozenset[str]]:
        return self._records.list_keys(), self._records.list_users(), self._records.list_revoked()

    def start_following(self, period_s: float) -> None:
        """Look for keys that others made or ended, again and again."""
        self._following.start(period_s)

    async def aclose(self) -> None:
        """Stop looking, and let go of the records."""
        await self._following.aclose()
        await asyncio.to_thread(self._records.close)

    async def list_keys(self, caller: Caller, *, after: str | None, limit: int) -> list[Key]:
        """Return keys in the order in which they were made, those that ended too; of the caller's tenant, or all.

        Args:
            caller: Who asks; an ``admin`` sees those of all tenants.
            after: Id of the key before the first.
            limit: At most so many.

        Raises:
            AccessDenied: The caller may not see them.
            KeyUnknown: There is no key ``after``.
            RecordsUnusable: They cannot be read.
        """
        keys = await self._visible(caller)
        start = 0 if after is None else keys.index(_find(keys, after)) + 1
        return keys[start : start + limit]

    async def show(self, caller: Caller, key_id: str) -> Key:
        """Return a key; raises as ``list_keys``."""
        return _find(await self._visible(caller), key_id)

    async def create(self, caller: Caller, wanted: Wanted) -> NewKey:
        """Make a key.

        Raises:
            AccessDenied: The caller may make none, or none that may do so much.
            RequestInvalid: It cannot be made like that; ``field`` says what is wrong.
            RecordsUnusable: It cannot be kept.
        """
        require(caller, Scope.KEYS)
        now = datetime.now(UTC)
        new = self._make(_check(caller, wanted, now), now)
        require_within(caller, new.key)
        await self._write(change_by(caller, "key.created", new.key.id), added=[new.key])
        return new

    async def rotate(self, caller: Caller, key_id: str, grace_s: float) -> NewKey:
        """Make a key that may do what another one may, and end that one.

        Args:
            caller: Who asks.
            key_id: Of the other one.
            grace_s: How long it is still good.

        Raises:
            AccessDenied: The caller may not, or the key may do more than the caller.
            KeyUnknown: There is no such key.
            KeyEnded: It has ended.
            RequestInvalid: It shall be good for too long.
            RecordsUnusable: It cannot be kept.
        """
        old = await self.show(caller, key_id)
        require_within(caller, old)
        now = datetime.now(UTC)
        if old.ends_at is not None and old.ends_at <= now:
            raise KeyEnded(f"the key {key_id!r} has ended; create a new one", field="id")
        grace = _check_lasting(grace_s, "grace_s")
        new = self._make(old, now)
        action = change_by(caller, "key.rotated", f"{old.id} to {new.key.id}")
        await self._write(action, added=[new.key], ended=[(old.id, now + grace)])
        return new

    async def revoke(self, caller: Caller, key_id: str) -> Key:
        """End a key now; one that ended before is left at that. Raises as ``list_keys``."""
        key = await self.show(caller, key_id)
        now = datetime.now(UTC)
        await self._write(change_by(caller, "key.revoked", key.id), ended=[(key.id, now)])
        return await self.show(caller, key.id)

    async def changes(self, caller: Caller, *, before: int | None, limit: int) -> list[Change]:
        """Return who changed what, the latest first.

        Args:
            caller: Who asks: an ``admin`` of a tenant sees what that tenant did, one of none sees all.
            before: Number of the change after the first.
            limit: At most so many.

        Raises:
            AccessDenied: The caller may not see them.
            RecordsUnusable: They cannot be read.
        """
        require(caller, Scope.ADMIN)
        found = partial(self._records.list_changes, before=before, limit=limit, tenant=caller.tenant or None)
        return await asyncio.to_thread(found)

    async def _visible(self, caller: Caller) -> list[Key]:
        require(caller, Scope.KEYS)
        keys = await asyncio.to_thread(self._records.list_keys)
        return [key for key in keys if is_over(caller, key.tenant)]

    async def _write(
        self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()
    ) -> None:
        await asyncio.to_thread(partial(self._records.write, change, added=added, ended=ended))
        await self.settle_soon()

    def _make(self, like: Key, now: datetime) -> NewKey:
        key_id = secrets.token_hex(_ID_BYTES)
        text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = replace(like, id=key_id, digest=self._digest(text), created_at=now)
        return NewKey(key, text)


def _check(caller: Caller, wanted: Wanted, now: datetime) -> Key:
    """Return what a key shall be, with what was left open filled in; it is none yet."""
    name = wanted.name
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise RequestInvalid(f"the name {name[:80]!r} is none of 1 to {_LONGEST_NAME} visible characters", field="name")
    powers = settle_powers(caller, wanted)
    lasts = None if wanted.lasts_s is None else _check_lasting(wanted.lasts_s, "lasts_s")
    return Key(
        id="",
        name=name,
        digest=b"",
        tenant=powers.tenant,
        scopes=powers.scopes,
        models=powers.models,
        created_at=now,
        ends_at=None if lasts is None else now + lasts,
    )


def _check_lasting(seconds: float, field: str) -> timedelta:
    if not 0 <= seconds <= LONGEST.total_seconds():
        raise RequestInvalid(f"{field} is {seconds:g}; it must be 0 to {LONGEST.total_seconds():g}", field=field)
    return timedelta(seconds=seconds)


def _find(keys: Iterable[Key], key_id: str) -> Key:
    for key in keys:
        if key.id == key_id:
            return key
    raise KeyUnknown(f"no key has the id {key_id[:80]!r}; list them with GET /api/v1/keys or headrace keys", field="id")
