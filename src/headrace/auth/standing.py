"""What tokens of this server say, whom they are for as the records say now, and which of them were revoked."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.records.accounts import User
from headrace.records.base import Key
from headrace.types import Caller, Scope

ISSUER: Final = "headrace"
"""What tokens of this server say who made them. It is no address, so no identity provider has the same."""
AUDIENCE: Final = "headrace"
"""What they say that they are for."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a token says.

    Attributes:
        ids: Its own, and that of the login it comes of, if any: each may be revoked.
        made_at: Seconds since 1970, as the next.
    """

    subject: str
    scopes: frozenset[Scope]
    ids: tuple[str, ...]
    made_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A key or a user: whom a token is for.

    Attributes:
        subject: What tokens call them: a user by the id, since a name may become another one's.
        caller: With all that they may do.
        ends_at: From when on they are nobody; seconds since 1970.
    """

    subject: str
    caller: Caller
    ends_at: float


class Standing:
    """Knows keys and users by what tokens call them, and what was revoked."""

    def __init__(self) -> None:
        self._keys: Mapping[str, Key] = {}
        self._users: Mapping[str, User] = {}
        self._holders: Mapping[str, Holder] = {}
        self._revoked: frozenset[str] = frozenset()

    def learn(self, keys: Iterable[Key], users: Iterable[User], revoked: frozenset[str]) -> None:
        """Know these, and none from before."""
        self._keys = {key.id: key for key in keys}
        self._users = {user.name: user for user in users}
        holders = [*map(_of_key, self._keys.values()), *map(_of_user, self._users.values())]
        self._holders = {holder.subject: holder for holder in holders}
        self._revoked = revoked

    def key(self, key_id: str) -> Key | None:
        """Return a key that was made, also if it has ended."""
        return self._keys.get(key_id)

    def user(self, name: str) -> User | None:
        """Return a user."""
        return self._users.get(name)

    def holder(self, subject: str, now: float) -> Holder | None:
        """Return whom a token is for; nobody if they ended before."""
        found = self._holders.get(subject)
        return found if found is not None and now < found.ends_at else None

    def is_revoked(self, ids: Iterable[str]) -> bool:
        """Tell whether one of these was revoked: a token, or its login."""
        return not self._revoked.isdisjoint(ids)


def subject_of_key(key_id: str) -> str:
    """Return what tokens call a key."""
    return f"key-{key_id}"


def subject_of_user(user_id: str) -> str:
    """Return what tokens call a user."""
    return f"user-{user_id}"


def _of_key(key: Key) -> Holder:
    caller = Caller(f"key-{key.id}", key.scopes, key.tenant, key.models)
    return Holder(subject_of_key(key.id), caller, math.inf if key.ends_at is None else key.ends_at.timestamp())


def _of_user(user: User) -> Holder:
    caller = Caller(f"user-{user.name}", user.scopes, user.tenant, user.models)
    return Holder(subject_of_user(user.id), caller, math.inf)
