"""A server that issues tokens, and ways to ask it."""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from tests.support.services import CALLER, ServiceUnderTest, service_under_test

from headrace.api.rest.app import build_app
from headrace.auth.issued import IssuedGuard
from headrace.auth.keys import KeyGuard, digest_of
from headrace.auth.passwords import Passwords
from headrace.auth.signing import SigningKeys, make_key_file
from headrace.auth.standing import Standing
from headrace.keyring import Keyring, NewKey, Wanted
from headrace.observe.base import ResponseSent
from headrace.records.accounts import User
from headrace.tokens import Tokens, Tools
from headrace.types import Scope
from headrace.users import Users, WantedUser

BOSS = "the-key-of-the-settings"
PASSWORD = "correct horse battery"  # noqa: S105 - made up


class Issuing:
    """The server.

    Attributes:
        path: Of the keys that it signs with.
    """

    def __init__(self, it: ServiceUnderTest, path: Path) -> None:
        self.it, self.path = it, path
        self.standing, self.signing, passwords = Standing(), SigningKeys(path), Passwords()
        keys = KeyGuard([BOSS])
        self.keyring = Keyring(it.records, keys, lambda: [BOSS], digest_of, self.standing)
        self.guard = IssuedGuard(self.signing, self.standing, keys)
        settle = self.keyring.settle_soon
        self.users = Users(it.records, passwords, settle)
        tools = Tools(self.signing, self.guard, passwords)
        self.tokens = Tokens(tools, self.standing, it.records, settle, 600)
        context = it.context([BOSS])
        context.keyring, context.users, context.tokens = self.keyring, self.users, self.tokens
        context.guard = self.guard
        transport = httpx.ASGITransport(build_app(context), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def make_key(self, *scopes: Scope, **wanted: Any) -> NewKey:
        """Make an API key, by default one that may infer."""
        return await self.keyring.create(
            CALLER, Wanted(name="job", scopes=frozenset(scopes or {Scope.INFER}), **wanted)
        )

    async def make_user(self, name: str = "ada", *scopes: Scope, **wanted: Any) -> User:
        """Make a user whose password is ``PASSWORD``."""
        asked = WantedUser(name=name, password=PASSWORD, scopes=frozenset(scopes or {Scope.INFER}), **wanted)
        return await self.users.create(CALLER, asked)

    async def token(self, **form: str) -> httpx.Response:
        """Ask the token endpoint."""
        return await self.client.post("/api/v1/token", data=form)

    async def token_with(self, headers: dict[str, str], /, **form: str) -> httpx.Response:
        """Ask the token endpoint with headers."""
        return await self.client.post("/api/v1/token", data=form, headers=headers)

    async def revoke(self, **form: str) -> httpx.Response:
        """Ask for the end of a token."""
        return await self.client.post("/api/v1/token/revoke", data=form)

    async def login(self, name: str = "ada", password: str = PASSWORD, **form: str) -> httpx.Response:
        """Ask with a password."""
        return await self.token(grant_type="password", username=name, password=password, **form)

    async def refresh(self, token: str, **form: str) -> httpx.Response:
        """Ask with a refresh token."""
        return await self.token(grant_type="refresh_token", refresh_token=token, **form)

    async def embed(self, shown: str) -> int:
        """Return the status of a request with a token or a key."""
        headers = {"authorization": f"Bearer {shown}"}
        return (await self.client.post("/api/v1/embed", json={"inputs": ["a"]}, headers=headers)).status_code

    @property
    def told_caller(self) -> str:
        """Who the last response was for, as the log has it."""
        return [fact.caller for fact in self.it.recorder.facts if isinstance(fact, ResponseSent)][-1]

    async def actions(self) -> list[str]:
        """Return what was changed, the latest first."""
        return [each.action for each in await self.keyring.changes(CALLER, before=None, limit=99)]


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header that shows a client."""
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@contextlib.asynccontextmanager
async def issuing(folder: Path) -> AsyncIterator[Issuing]:
    """Give a server that issues tokens."""
    make_key_file(folder / "signing.pem", "ES256")
    async with service_under_test() as it:
        server = Issuing(it, folder / "signing.pem")
        await server.keyring.settle()
        async with server.client:
            yield server
