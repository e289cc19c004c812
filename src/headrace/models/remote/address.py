"""Where a remote store is, as the user writes it: ``s3://BUCKET/PREFIX``."""

import re
from dataclasses import dataclass
from typing import Final

from headrace.errors import SettingInvalid

FORM: Final = "s3://BUCKET or s3://BUCKET/PREFIX"

_MAX_CHARS: Final = 512  # an object's whole name may have 1,024 bytes; what is added to the address has under 256
_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PART: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._=-]+"  # a part "." or ".." is a name in S3, and a way out elsewhere
_ADDRESS: Final = re.compile(rf"s3://(?P<bucket>{_BUCKET})(?:/(?P<prefix>{_PART}(?:/{_PART})*))?/?")


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket and what the names of all objects in it begin with; it never holds credentials."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, *parts: str) -> str:
        """Return an object's name in the bucket."""
        return "/".join([self.prefix, *parts] if self.prefix else parts)

    def spell(self, key: str) -> str:
        """Return an object's whole address, for messages."""
        return f"s3://{self.bucket}/{key}"


def parse_address(text: str | None) -> Address:
    """Read an address.

    Raises:
        SettingInvalid: There is none, or it is no such address. A wrong one is not quoted: it may hold a password.
    """
    if not text:
        raise SettingInvalid(f"no remote store was named; set store.remote to {FORM}", field="store.remote")
    found = _ADDRESS.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        raise SettingInvalid(
            f"the address of the remote store is none; use {FORM}, with letters, digits, '.', '_', '=' and '-', and"
            " leave the server and the credentials to AWS_ENDPOINT_URL and AWS_PROFILE",
            field="store.remote",
        )
    return Address(found["bucket"], found["prefix"] or "")
