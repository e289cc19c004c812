"""What may be given to a key or a user: nobody gives more than they have."""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from headrace.auth.base import is_over
from headrace.errors import AccessDenied, RequestInvalid
from headrace.types import MODEL_NAME, Caller, Scope

TENANT: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?")
"""What a tenant may be called; nothing where there is only one."""
MOST_MODELS: Final = 256
"""That a key or a user may be for, by name."""


class Asked(Protocol):
    """What somebody wants to give."""

    @property
    def scopes(self) -> frozenset[Scope]:
        """What may be done."""
        ...

    @property
    def models(self) -> frozenset[str] | None:
        """Models that may be used; ``None`` for those of who gives."""
        ...

    @property
    def tenant(self) -> str | None:
        """Whose it is; ``None`` for that of who gives."""
        ...


class Given(Asked, Protocol):
    """What a key or a user has; no models are all."""

    @property
    def tenant(self) -> str:
        """Whose it is."""
        ...


@dataclass(frozen=True, slots=True)
class Powers:
    """What a key or a user may do."""

    scopes: frozenset[Scope]
    models: frozenset[str] | None
    tenant: str


def settle_powers(caller: Caller, asked: Asked) -> Powers:
    """Return what is asked for, with what was left open filled in.

    Raises:
        RequestInvalid: It cannot be given like that; ``field`` says what is wrong.
    """
    tenant = caller.tenant if asked.tenant is None else asked.tenant
    if not TENANT.fullmatch(tenant):
        raise RequestInvalid(
            f"the tenant {tenant[:80]!r} is no name of at most 63 small letters, digits and hyphens", field="tenant"
        )
    if not asked.scopes:
        raise RequestInvalid(f"a scope is needed; there are {', '.join(Scope)}", field="scopes")
    models = caller.models if asked.models is None else asked.models
    if models is not None and not 1 <= len(models) <= MOST_MODELS:
        raise RequestInvalid(f"models has {len(models)} names; give 1 to {MOST_MODELS}", field="models")
    for model in models or ():
        if not MODEL_NAME.fullmatch(model):
            raise RequestInvalid(f"{model[:80]!r} is no name of a model", field="models")
    return Powers(asked.scopes, models, tenant)


def require_within(caller: Caller, given: Given) -> None:
    """Let pass what gives no more than its maker has.

    Raises:
        AccessDenied: It gives more.
    """
    if Scope.ADMIN in caller.scopes and not caller.tenant:
        return
    if missing := sorted(given.scopes - caller.scopes):
        raise AccessDenied(f"{caller.name!r} may not give {missing[0]!r}, which it has not", field="scopes")
    if not is_over(caller, given.tenant):
        raise AccessDenied(f"{caller.name!r} may give to its own tenant only", field="tenant")
    if caller.models is not None and (given.models is None or not given.models <= caller.models):
        raise AccessDenied(f"{caller.name!r} may give only the models that it has", field="models")
