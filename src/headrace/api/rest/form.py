"""Reading a form as OAuth2 has it, and the client that stands beside it."""

import base64
import binascii
import re
import urllib.parse
from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from headrace.api.rest.body import read_bytes
from headrace.errors import CallerUnknown, RequestMalformed, RequestUnsupported
from headrace.settings import ServerSettings
from headrace.tokens import Client

FORM: Final = "application/x-www-form-urlencoded"
_CONTENT_TYPE: Final = re.compile(rf'{FORM}(?:\s*;\s*charset\s*=\s*"?utf-?8"?)?', re.IGNORECASE)
_MOST_BYTES: Final = 16 << 10  # a token has 8,192 at most
_MOST_FIELDS: Final = 32


async def read_form(request: Request, settings: ServerSettings, names: Collection[str]) -> dict[str, str]:
    """Return the fields of a form that have one of some names; what is empty is not there (RFC 6749, 3.2).

    Raises:
        RequestUnsupported: It is no form.
        RequestTooLarge: It is longer than any of these is.
        RequestMalformed: It cannot be read, or has a field twice; or something stands in the address, where it would be
            logged on the way.
    """
    values = request.headers.getlist("content-type")
    if len(values) != 1 or not _CONTENT_TYPE.fullmatch(values[0].strip()):
        raise RequestUnsupported(f"send the parameters as a form: 'content-type: {FORM}'", field="content-type")
    if request.scope["query_string"]:
        raise RequestMalformed("parameters stand in the address; send all of them in the body")
    data = await read_bytes(request, settings, _MOST_BYTES)
    try:
        pairs = urllib.parse.parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:  # not its words, which may be a password
        raise RequestMalformed(
            f"the body is no form of at most {_MOST_FIELDS} fields in percent-encoded UTF-8; correct it"
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise RequestMalformed("a parameter is given twice; give each once")
    return {name: value for name, value in pairs if name in names and value}


def read_client(request: Request, form: dict[str, str]) -> Client | None:
    """Return the client, as the header ``Authorization: Basic`` has it or the form; nobody if none shows itself.

    Raises:
        CallerUnknown: The header cannot be read.
        RequestMalformed: It shows itself twice.
    """
    shown = [value for value in request.headers.getlist("authorization") if value.lower().startswith("basic")]
    client = None if not shown else _read_basic(shown)
    secret = form.get("client_secret")
    if client is not None and secret is not None:
        raise RequestMalformed("client_secret is sent beside 'Authorization: Basic'; send one of them")
    return client if secret is None else Client(form.get("client_id", ""), secret)


def _read_basic(shown: list[str]) -> Client | None:
    try:
        (value,) = shown
        text = base64.b64decode(value[len("basic") :].strip(), validate=True).decode()
        key_id, secret = text.split(":", 1)
        # Both are encoded as in a form before they are put together (RFC 6749, 2.3.1).
        client = Client(*(urllib.parse.unquote_plus(part, errors="strict") for part in (key_id, secret)))
    except (ValueError, binascii.Error):
        raise CallerUnknown("the header 'Authorization: Basic' cannot be read; send CLIENT_ID:CLIENT_SECRET") from None
    # Empty ones are what Swagger UI sends where there is no client.
    return client if client.key_id or client.secret else None
