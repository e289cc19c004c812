"""The keys that an identity provider signs with, found as OpenID Connect says and looked at again and again.

Nobody but the provider that the settings name is ever asked: what a token says about where its key is, is not read. For
tokens with unknown keys, however many there are, the provider is asked twice a minute at most, and the keys that are
known stay known while it is away.
"""

import asyncio
import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final

import structlog

from headrace.auth.jwts import Signer, read_jwk
from headrace.auth.loopback import is_loopback
from headrace.errors import SettingInvalid

_DISCOVERY: Final = "/.well-known/openid-configuration"
_LIMIT_S: Final = 5.0
_MOST_BYTES: Final = 256 << 10
_MOST_KEYS: Final = 64
_COOL_DOWN_S: Final = 30.0
_REFRESH_S: Final = 300.0
_RETRY_S: Final = 1.0  # as long as no key is known


class Issuer:
    """An identity provider.

    Args:
        url: Its identifier, which its tokens have as ``iss``; its documents are found below it.

    Raises:
        SettingInvalid: It can be reached in the clear over a network.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._signers: Mapping[str, Signer] = {}
        self._wanted = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._failed = False
        if not _is_private(url):
            raise SettingInvalid(f"auth.issuer is {url[:200]!r}; it must be an https:// address", field="auth.issuer")

    @property
    def signers(self) -> Mapping[str, Signer]:
        """The keys that are known, by their ids; another object whenever they were looked at again and had changed."""
        return self._signers

    def find(self, key_id: str) -> Signer | None:
        """Return a key; one that is not known is looked for soon."""
        found = self._signers.get(key_id)
        if found is None:
            self._wanted.set()
        return found

    async def start(self) -> None:
        """Look for the keys, and go on doing so; a provider that is away stops nobody from starting."""
        await self._refresh()
        self._following = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Stop looking."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_COOL_DOWN_S if self._signers else _RETRY_S)
            if self._signers:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH_S - _COOL_DOWN_S):
                        await self._wanted.wait()
            self._wanted.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            found = await asyncio.to_thread(_fetch_keys, self.url)
        except (OSError, HTTPException, ValueError) as error:
            if not self._failed:  # once: it is the same each time, until it is mended
                log = structlog.get_logger()
                log.warning("issuer.unread", issuer=self.url, reason=_reason(error), known=len(self._signers))
            self._failed = True
            return
        self._failed = False
        if found != self._signers:
            self._signers = found


def _fetch_keys(url: str) -> dict[str, Signer]:
    """Return the keys of a provider.

    Raises:
        OSError: It cannot be reached, or refuses.
        HTTPException: It does not speak HTTP.
        ValueError: What it says is not what it should.
    """
    told = _fetch(url.removesuffix("/") + _DISCOVERY)
    if told.get("issuer") != url:
        raise ValueError("its document is that of another issuer")
    place = told.get("jwks_uri")
    if not isinstance(place, str):
        raise ValueError("its document names no jwks_uri")  # noqa: TRY004 - what it says is wrong, not what we asked
    if not _is_private(place):
        raise ValueError("its keys are at no https:// address")
    listed = _fetch(place).get("keys")
    if not isinstance(listed, list):
        raise ValueError("it has no list of keys")  # noqa: TRY004 - as above
    found = [read_jwk(each) for each in listed[:_MOST_KEYS]]
    return {key_id: signer for key_id, signer in found if signer is not None}


def _fetch(url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 - http(s) was required
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=_LIMIT_S) as response:
        data = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError("it says too much")
    told = json.loads(data)
    if not isinstance(told, dict):
        raise ValueError("it gives no JSON object")  # noqa: TRY004 - as above
    return told


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Follow nothing: who can redirect a request could choose the keys."""


def _is_private(url: str) -> bool:
    """Whether nobody on the way can change what is read there: HTTPS, or plain HTTP to this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (host == "localhost" or is_loopback(host)))


def _reason(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)
        else type(error).__name__
    )
