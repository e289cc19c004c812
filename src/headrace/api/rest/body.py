"""Reading a request body: bounded in bytes and in time, strict in what it is.

Limits apply to what arrives and to what it expands to, so neither a chunked body without a length nor a
compressed one gets around them.
"""

import asyncio
import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from headrace.api.rest.disconnect import ClientLeft
from headrace.api.validation import parse_json, validate
from headrace.codings import CODINGS, Coding, ContentCorrupt, ContentOverlong, decompress, find_coding
from headrace.errors import RequestMalformed, RequestTimeout, RequestTooLarge, RequestUnsupported
from headrace.settings import ServerSettings

Body = TypeVar("Body", bound=BaseModel)

BODY_KEY: Final = "body"
"""Under which the server leaves a body in the state of a request, if all of it came along with the head."""

# What a page from elsewhere may send without asking first (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
_FORMS: Final = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}(; ?[\w-]{1,20}=[\w-]{1,20})?", re.ASCII)
_CHARSETS: Final = {"utf-8", "utf8"}


async def read_model(request: Request, model: type[Body], settings: ServerSettings) -> Body:
    """Read the JSON body of a request as a model; raises as ``read_json`` and ``validate``."""
    return validate(await read_json(request, settings), model)


async def read_json(request: Request, settings: ServerSettings) -> Any:
    """Read, decompress and parse the JSON body of a request.

    Raises:
        RequestUnsupported: Another content type, charset or content encoding.
        RequestTooLarge: Over the limit, before or after decompression.
        RequestTimeout: It did not arrive in time.
        RequestMalformed: Not JSON in UTF-8.
        ClientLeft: The client went away in the middle.
    """
    _check_content_type(request.headers.getlist("content-type"))
    return parse_json(await read_bytes(request, settings))


def _check_content_type(values: list[str]) -> None:
    """Only JSON is read: a body that says it is something else could come from a form on a foreign page."""
    media_type, _, parameters = (values[0] if len(values) == 1 else "").partition(";")
    name, _, charset = parameters.strip().partition("=")
    accepted = not parameters.strip() or (
        name.strip().lower() == "charset" and charset.strip().strip('"').lower() in _CHARSETS
    )
    if media_type.strip().lower() != "application/json" or not accepted:
        # Only what is a content type is repeated: anything may stand there, a key that slipped a line too.
        shown = repr(values[0]) if len(values) == 1 and _MEDIA_TYPE.fullmatch(values[0]) else "none, or no single one"
        raise RequestUnsupported(
            f"the content type is {shown}; send 'content-type: application/json'", field="content-type"
        )


def refuse_forms(request: Request) -> None:
    """Refuse what a form on a foreign page can send, where any other content type is read.

    Raises:
        RequestUnsupported: It is such a body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        raise RequestUnsupported(
            f"the content type is {kind!r}, which forms send; send JSON or application/octet-stream",
            field="content-type",
        )


async def read_bytes(request: Request, settings: ServerSettings, most_bytes: int | None = None) -> bytes:
    """Read and decompress the body of a request; raises as ``read_json``, but for what it holds.

    Args:
        request: As it came.
        settings: Its bounds.
        most_bytes: A closer one, where nothing large is to come.
    """
    limit = min(most_bytes or settings.max_body_bytes, settings.max_body_bytes)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)
    coding = _read_coding(request)
    data: bytes | None = request.scope["state"].get(BODY_KEY)
    if data is None:
        data = await _receive(request, settings, limit)
    return data if coding is None else _decompress(data, coding, limit)


async def _receive(request: Request, settings: ServerSettings, limit: int) -> bytes:
    try:
        async with asyncio.timeout(settings.receive_timeout_s):
            return await _collect(request, limit)
    except TimeoutError as error:
        raise RequestTimeout(
            f"the body did not arrive within {settings.receive_timeout_s:g} s; send it faster or send less"
        ) from error


async def _collect(request: Request, limit: int) -> bytes:
    data = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        data += message.get("body", b"")
        if len(data) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(data)


def _read_coding(request: Request) -> Coding | None:
    """Return what a body is compressed with, once; nothing if it is not."""
    shown = ",".join(request.headers.getlist("content-encoding")).strip().lower()
    if shown in {"", "identity"}:
        return None
    coding = find_coding(shown)
    if coding is None:
        raise RequestUnsupported(
            f"the content encoding is {shown[:80]!r}; send plain JSON, or one of {', '.join(CODINGS)}",
            field="content-encoding",
        )
    return coding


def _decompress(data: bytes, coding: Coding, limit: int) -> bytes:
    try:
        return decompress(data, coding, limit)
    except ContentCorrupt as error:
        raise RequestMalformed(
            f"the body is not exactly one whole {coding} stream, without a dictionary and with a window of at most"
            " 8 MiB; send one, or plain JSON"
        ) from error
    except ContentOverlong as error:
        raise _too_large(limit) from error


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body is larger than {limit} bytes, decompressed; send fewer texts at once")
