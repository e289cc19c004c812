"""The port of the guard, and the one place that says yes or no."""

from dataclasses import dataclass, field
from typing import Protocol

from headrace.errors import AccessDenied
from headrace.types import Caller, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a transport knows of a caller.

    Attributes:
        peer: Address of the other end of the connection, never one from a header; ``None`` if unknown.
        key: The API key it showed, if any.
    """

    peer: str | None
    key: str | None = field(default=None, repr=False)


class Guard(Protocol):
    """Establishes who is calling. Every route and RPC asks it, whatever its path."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine is admitted, without any key."""
        ...

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller.

        Raises:
            CallerUnknown: No credentials, or wrong ones.
        """
        ...


def may_use(caller: Caller, name: str) -> bool:
    """Whether a caller may use a model."""
    return caller.models is None or name in caller.models


def is_over(caller: Caller, tenant: str) -> bool:
    """Whether a caller has to do with what is a tenant's: its own, or as an admin of no tenant everybody's."""
    return tenant == caller.tenant or (not caller.tenant and Scope.ADMIN in caller.scopes)


def require_model(caller: Caller, name: str) -> None:
    """Let a caller pass that may use the model.

    Raises:
        AccessDenied: It may not.
    """
    if not may_use(caller, name):
        raise AccessDenied(f"{caller.name!r} may not use the model {name!r}; ask for a key for it", field="model")


def require(caller: Caller, scope: Scope) -> None:
    """Let a caller pass that has the scope.

    Raises:
        AccessDenied: It has not.
    """
    if scope not in caller.scopes:
        raise AccessDenied(f"{caller.name!r} may not use {scope.value!r}; ask for a key with that scope")
