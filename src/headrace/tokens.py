"""Issues tokens, and revokes them: short ones that say who somebody is, and ones to get the next of these with.

An access token is signed, and good for some minutes; nothing is kept of it. A refresh token is a random text, of which
a digest is kept, and is good once: who shows one a second time may be its thief or its owner, and which of them cannot
be known, so the login ends for both (RFC 9700, 4.14.2).
"""

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from headrace.auth.gate import Gate
from headrace.auth.guesses import Guesses
from headrace.auth.keys import digest_of
from headrace.auth.standing import AUDIENCE, ISSUER, Access, Holder, Standing, subject_of_key, subject_of_user
from headrace.errors import CallerUnknown, GrantInvalid, GrantUnsupported, ScopeInvalid
from headrace.records.accounts import Accounts, Login, User
from headrace.records.journal import change_by
from headrace.types import Caller, Scope

PREFIX: Final = "hrt_"
"""What a refresh token begins with, so that a scanner of secrets finds one that was published."""
_REFRESH: Final = re.compile(rf"({PREFIX}[0-9a-f]{{32}})_[\w-]{{43}}", re.ASCII)
_ROOT_LENGTH: Final = len(PREFIX) + 32
_LOGIN_LASTS: Final = timedelta(days=30)
_MOST_LOGINS: Final = 64  # of one user
_AT_ONCE: Final = 1  # of two connections that the records have
_WAITING: Final = 64
_LONGEST_NAME: Final = 64  # of a user, so that what is counted of those that are none takes no memory
_OFF: Final = (
    "this server issues no tokens; let auth.signing_keys name a file of private keys"
    " (headrace signing-keys create FILE), or use an API key"
)


@dataclass(frozen=True, slots=True)
class Client:
    """An API key that was made, as OAuth2 has it: its id, and itself."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Tokens that were just made.

    Attributes:
        access: Shown as an API key is.
        lasts_s: Seconds for which it does.
        scopes: What may be done with it.
        refresh: Good once, for the next tokens; nothing for a key, which can ask again itself.
        caller: Whose they are.
    """

    access: str = field(repr=False)
    lasts_s: int
    scopes: frozenset[Scope]
    refresh: str | None = field(default=None, repr=False)
    caller: Caller


class Signing(Protocol):
    """Signs what tokens say."""

    @property
    def published(self) -> list[Mapping[str, str]]:
        """The public keys, as JSON has them."""
        ...

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token."""
        ...


class Reader(Protocol):
    """Reads tokens that were signed here."""

    def read(self, token: str) -> Access | None:
        """Return what a token says that has not ended; nothing of anything else."""
        ...


class Matcher(Protocol):
    """Compares passwords."""

    async def match(self, password: str, verifier: str | None) -> bool:
        """Tell whether it is the right one, in the same time for nobody's.

        Raises:
            QueueFull: Too many passwords are being looked at.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What tokens are made and read with."""

    signing: Signing
    reader: Reader
    passwords: Matcher


class Tokens:
    """Issues and revokes.

    Args:
        tools: Nothing where no tokens are to be issued.
        standing: Whom they can be for.
        accounts: Where logins are kept, and what was revoked.
        settle: Lets this replica know at once what was revoked.
        lasts_s: Seconds for which an access token does.
    """

    def __init__(
        self,
        tools: Tools | None,
        standing: Standing,
        accounts: Accounts,
        settle: Callable[[], Awaitable[None]],
        lasts_s: int,
    ) -> None:
        self._tools = tools
        self._standing = standing
        self._accounts = accounts
        self._settle = settle
        self._lasts_s = lasts_s
        self._guesses = Guesses()
        self._gate = Gate(_AT_ONCE, _WAITING)

    @property
    def published(self) -> list[Mapping[str, str]]:
        """The public keys, as JSON has them (RFC 7517); none where no tokens are issued."""
        return [] if self._tools is None else self._tools.signing.published

    def by_key(self, client: Client, asked: str | None) -> Issued:
        """Return a token for an API key.

        Args:
            client: The key.
            asked: Scopes with spaces between; nothing for all that it has.

        Raises:
            GrantUnsupported: No tokens are issued here.
            CallerUnknown: The key is not known, or has ended.
            ScopeInvalid: It has not all that is asked for.
        """
        tools = self._require_tools()
        holder = self._identify(client)
        return self._issue(tools, holder, _narrow(holder.caller.scopes, asked))

    async def by_password(self, name: str, password: str, asked: str | None, client: Client | None = None) -> Issued:
        """Return tokens for a user; raises as ``by_key`` for a client, if one is shown beside them, and these.

        Raises:
            GrantInvalid: There is no such user, or their password is another.
            LimitExceeded: Too many passwords were wrong.
            QueueFull: Too many ask at once.
            RecordsUnusable: The login cannot be kept.
        """
        tools = self._require_tools()
        if client is not None:
            self._identify(client)
        user = await self._check_password(tools.passwords, name, password)
        holder = self._find_holder(subject_of_user(user.id))
        scopes = _narrow(user.scopes, asked)
        root = f"{PREFIX}{secrets.token_hex(16)}"
        refresh, now = _make_refresh(root), datetime.now(UTC)
        login = Login(
            id=secrets.token_hex(16),
            root=digest_of(root),
            digest=digest_of(refresh),
            user_id=user.id,
            scopes=scopes,
            begun_at=now,
            ends_at=now + _LOGIN_LASTS,
        )
        is_kept = await self._gate.run(partial(self._accounts.open_login, login, user, _MOST_LOGINS))
        if holder is None or not is_kept:
            raise _wrong_password()
        return self._issue(tools, holder, scopes, login, refresh)

    async def by_refresh(self, shown: str, asked: str | None, client: Client | None = None) -> Issued:
        """Return the next tokens of a login; one that was used before ends it. Raises as ``by_password``."""
        tools = self._require_tools()
        if client is not None:
            self._identify(client)
        login = await self._find_login(shown)
        holder = None if login is None else self._find_holder(subject_of_user(login.user_id))
        if login is None or holder is None:
            raise _wrong_refresh()
        digest, following = digest_of(shown), _make_refresh(shown[:_ROOT_LENGTH])
        turn = partial(self._accounts.turn_login, login.id, digest, digest_of(following))
        is_good = hmac.compare_digest(login.digest, digest)
        # First: what cannot be had must not use up the token.
        scopes = _narrow(login.scopes & holder.caller.scopes, asked if is_good else None)
        if not is_good or not await self._gate.run(turn):
            await self._revoke(holder.caller, "login.reused", login.id)
            raise _wrong_refresh()
        return self._issue(tools, holder, scopes, login, following)

    async def revoke(self, shown: str, client: Client | None = None) -> None:
        """End a token: an access token alone, a refresh token with its whole login. One that is none is left at that.

        Raises:
            GrantUnsupported: No tokens are issued here.
            CallerUnknown: A client is shown beside it that is none.
            QueueFull: Too many ask at once.
            RecordsUnusable: It cannot be kept.
        """
        tools = self._require_tools()
        if client is not None:
            self._identify(client)
        login = await self._find_login(shown)
        access = None if login is not None else tools.reader.read(shown)
        if login is not None:
            subject, ended, action = subject_of_user(login.user_id), login.id, "login.revoked"
        elif access is not None and not self._standing.is_revoked(access.ids):
            subject, ended, action = access.subject, access.ids[0], "token.revoked"
        else:
            return
        holder = self._find_holder(subject)
        if holder is not None:  # else it has ended already
            await self._revoke(holder.caller, action, ended)

    def _require_tools(self) -> Tools:
        if self._tools is None:
            raise GrantUnsupported(_OFF)
        return self._tools

    def _find_holder(self, subject: str) -> Holder | None:
        return self._standing.holder(subject, datetime.now(UTC).timestamp())

    def _identify(self, client: Client) -> Holder:
        key = self._standing.key(client.key_id)
        holder = self._find_holder(subject_of_key(client.key_id))
        digest = digest_of(client.secret)
        if not hmac.compare_digest(digest if key is None else key.digest, digest) or key is None or holder is None:
            raise CallerUnknown(
                "client_id and client_secret are not the id of an API key that was made and is good, and the key itself"
            )
        return holder

    async def _check_password(self, passwords: Matcher, name: str, password: str) -> User:
        counted = name[: _LONGEST_NAME + 1]
        self._guesses.take(counted)
        user = self._standing.user(name)
        is_right: bool | None = None
        try:
            is_right = await passwords.match(password, None if user is None else user.verifier)
        finally:
            if is_right is not False:  # it was right, or nobody has looked
                self._guesses.give_back(counted)
        if user is None or not is_right:
            raise _wrong_password()
        return user

    async def _find_login(self, shown: str) -> Login | None:
        found = _REFRESH.fullmatch(shown)
        if found is None:
            return None
        return await self._gate.run(partial(self._accounts.find_login, digest_of(found[1]), datetime.now(UTC)))

    async def _revoke(self, caller: Caller, action: str, ended: str) -> None:
        await self._gate.run(partial(self._accounts.revoke, change_by(caller, action, ended), [ended]))
        await self._settle()

    def _issue(
        self,
        tools: Tools,
        holder: Holder,
        scopes: frozenset[Scope],
        login: Login | None = None,
        refresh: str | None = None,
    ) -> Issued:
        caller, made_at = holder.caller, int(datetime.now(UTC).timestamp())
        ends_at = int(min(made_at + self._lasts_s, holder.ends_at, *([login.ends_at.timestamp()] if login else [])))
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": holder.subject,
            "jti": secrets.token_hex(16),
            "iat": made_at,
            "exp": ends_at,
            "scope": _spell(scopes),
            "tenant": caller.tenant,
            "models": None if caller.models is None else sorted(caller.models),
        }
        if login is not None:
            claims["sid"] = login.id
        access = tools.signing.sign(claims)
        return Issued(access=access, lasts_s=ends_at - made_at, scopes=scopes, refresh=refresh, caller=caller)


def _narrow(has: frozenset[Scope], asked: str | None) -> frozenset[Scope]:
    if asked is None:
        return has
    names = set(asked.split(" "))
    if excess := sorted(names - has):
        raise ScopeInvalid(f"the scope {excess[0][:80]!r} cannot be given; there are {_spell(has)!r}", field="scope")
    return frozenset(scope for scope in has if scope in names)


def _spell(scopes: Collection[Scope]) -> str:
    return " ".join(sorted(scopes))


def _make_refresh(root: str) -> str:
    return f"{root}_{secrets.token_urlsafe(32)}"


def _wrong_password() -> GrantInvalid:
    return GrantInvalid("no user has that name and that password")


def _wrong_refresh() -> GrantInvalid:
    return GrantInvalid("the refresh token is not good, or not any more; log in again")
