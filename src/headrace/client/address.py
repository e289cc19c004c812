"""Where a server is, and what is shown to it."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from headrace.client.trust import SYSTEM, Trust
from headrace.errors import SettingInvalid

_SECURE: Final = {"http": False, "https": True, "grpc": False, "grpcs": True}
# What a header can carry. A key with a line end would be shown whole by whoever refuses the header.
_KEY: Final = re.compile(r"[!-~]{1,8192}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        is_grpc: Whether it is asked over gRPC, else over REST.
        is_secure: Whether over TLS.
        target: Host and port, as ``127.0.0.1:8001``.
        path: That its paths begin with; empty over gRPC, and where no proxy put something before them.
        key: What is shown to it.
        trust: By which certificates it is known over TLS.
    """

    url: str
    is_grpc: bool
    is_secure: bool
    target: str
    path: str
    key: str | None = field(default=None, repr=False)
    trust: Trust = SYSTEM


def read_address(url: str, key: str | None = None, trust: Trust = SYSTEM) -> Address:
    """Read an address.

    Raises:
        SettingInvalid: It is none, the key is nothing that a header can carry, or the certificates are of no use.
    """
    if key is not None and not _KEY.fullmatch(key):
        raise SettingInvalid(
            f"the key has {len(key)} characters, and not all are visible ASCII; give it as it was made", field="key"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid() from None  # it shows the address, which may hold a password
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not is_plain or not host or "@" in parts.netloc or parts.query or parts.fragment or parts.scheme not in _SECURE:
        raise _invalid()
    path, is_grpc = parts.path.rstrip("/"), parts.scheme.startswith("grpc")
    if is_grpc and (path or port is None):
        raise _invalid()
    is_secure = _SECURE[parts.scheme]
    if trust != SYSTEM:
        _check(trust, is_secure=is_secure)
    return Address(url.rstrip("/"), is_grpc, is_secure, parts.netloc, path, key, trust)


def _check(trust: Trust, *, is_secure: bool) -> None:
    """Say what is wrong with certificates now, and not with the first call."""
    if not is_secure:
        raise SettingInvalid("certificates are for https:// and grpcs:// alone; give such a url, or none", field="url")
    trust.context()


def _invalid() -> SettingInvalid:
    return SettingInvalid(
        "the url is no http://HOST[:PORT][/PATH], https://..., grpc://HOST:PORT or grpcs://HOST:PORT; give one without"
        " a name, a password or a query",
        field="url",
    )
