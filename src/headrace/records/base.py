"""The port of the records, and what is kept in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from headrace.types import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it is kept: its digest, never itself.

    Attributes:
        id: Part of the key, by which it is found.
        name: What its holder is called by people.
        digest: SHA-256 of the whole key, 32 bytes.
        tenant: Whose it is; empty where there is only one.
        scopes: What may be done with it.
        models: Names of the models it may be used for; ``None`` for all.
        created_at: When it was made.
        ends_at: From when on it is refused; ``None`` for never.
    """

    id: str
    name: str
    digest: bytes
    tenant: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    created_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changed what, and when.

    Attributes:
        number: Grows from one change to the next; 0 as long as it is not kept.
        caller: Name of who did it.
        tenant: Whose the caller is.
        action: Such as ``key.created``; with the code of an error behind it where it failed.
        subject: What was changed, such as the id of a key.
    """

    at: datetime
    caller: str
    tenant: str
    action: str
    subject: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request that is done once, however often it comes.

    Attributes:
        tenant: Whose the caller is.
        caller: Name of who asks.
        key: SHA-256 of what the caller calls it, 32 bytes.
        asked: SHA-256 of what is asked, 32 bytes.
        at: When it came first.
        answer: As it was answered, without secrets; nothing as long as it is not.
    """

    tenant: str
    caller: str
    key: bytes
    asked: bytes
    at: datetime
    answer: bytes | None = None


class Records(Protocol):
    """Keeps keys, changes, and requests that are done once.

    All methods wait for a disk or a network: an event loop calls them in a thread.
    """

    def mark(self) -> int:
        """Return a number that is another one whenever who may call was changed since.

        Raises:
            RecordsUnusable: They cannot be read.
        """
        ...

    def list_keys(self) -> list[Key]:
        """Return all keys, also those that ended, in the order in which they were made; raises as ``mark``."""
        ...

    def write(self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()) -> None:
        """Keep a change together with what it did, or neither of them.

        Args:
            change: Who does it.
            added: New keys.
            ended: Ids of keys, and when each ends; one that ends sooner already is left at that.

        Raises:
            RecordsUnusable: They cannot be written; nothing was.
        """
        ...

    def list_changes(self, *, before: int | None, limit: int, tenant: str | None) -> list[Change]:
        """Return changes, the latest first; raises as ``mark``.

        Args:
            before: Only those with a smaller number.
            limit: At most so many.
            tenant: Only those by callers of that tenant; ``None`` for all.
        """
        ...

    def begin(self, request: IdempotentRequest, *, since: datetime, most: int) -> IdempotentRequest | None:
        """Keep that a request begins, unless it did before; of any number at the same time one is told so.

        Args:
            request: Known by its tenant, its caller and its key.
            since: What came sooner is forgotten, whoever asked it.
            most: Requests of one caller that are kept.

        Returns:
            The request of that name which is there already; nothing if it begins now.

        Raises:
            IdempotencyFull: The caller has as many as it may have.
            RecordsUnusable: They cannot be written; nothing was.
        """
        ...

    def end(self, request: IdempotentRequest, answer: bytes | None) -> None:
        """Keep the answer of a request that began, or forget the request if there is none; raises as ``mark``."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


def spell_key(key: Key) -> dict[str, Any]:
    """Return a key as JSON has it; its digest stays here."""
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "created_at": spell_time(key.created_at),
        "ends_at": None if key.ends_at is None else spell_time(key.ends_at),
    }


def spell_change(change: Change) -> dict[str, Any]:
    """Return a change as JSON has it."""
    return {
        "number": change.number,
        "at": spell_time(change.at),
        "caller": change.caller,
        "tenant": change.tenant,
        "action": change.action,
        "subject": change.subject,
    }


def spell_time(moment: datetime) -> str:
    """Return a time as JSON has it: UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
