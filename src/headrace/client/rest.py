"""A server asked over REST, in the native dialect.

httpx2 is what sends: huggingface-hub needs it, so it is there wherever Headrace is, and it goes on where httpx has
stopped (https://github.com/pydantic/httpx2). Its redirects, cookies and decompression are left out: a redirect would
take the key elsewhere, and the other two would let a server choose how much memory its answers take. What is compressed
is expanded here, within the bounds of any other answer.
"""

import email.utils
import re
import ssl
from datetime import UTC, datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2
import numpy as np
import orjson

from headrace.client.address import Address
from headrace.client.answers import check_vectors, make_error, read_models, read_results
from headrace.client.base import MOST_BYTES, ModelShown, Part, Question
from headrace.client.trust import SYSTEM
from headrace.codings import CODINGS, ContentCorrupt, ContentOverlong, decompress, find_coding
from headrace.errors import (
    AccessDenied,
    AnswerInvalid,
    CallerUnknown,
    HeadraceError,
    LimitExceeded,
    RequestTimeout,
    RequestTooLarge,
    RouteUnknown,
    ServerFailed,
    ServerUnreachable,
)
from headrace.types import FloatArray, Result
from headrace.version import VERSION

_JSON: Final = "application/json"
_FLOATS: Final = "application/octet-stream"
_CONNECT_S: Final = 5.0  # after which another attempt is worth more than waiting on
_MOST_IDLE: Final = 32  # connections that are kept
_MOST_REFUSAL: Final = 64 << 10  # bytes of an answer that is an error
# Numbers as bytes hardly get smaller.
_CODINGS: Final = {_JSON: ", ".join(CODINGS), _FLOATS: "identity"}
_SHAPE: Final = re.compile(r"([0-9]{1,9}),([0-9]{1,9})")
_LEAST_S: Final = 0.001
# What a gateway says before anybody of ours is asked.
_BY_STATUS: Final[dict[int, type[HeadraceError]]] = {
    HTTPStatus.UNAUTHORIZED: CallerUnknown,
    HTTPStatus.FORBIDDEN: AccessDenied,
    HTTPStatus.NOT_FOUND: RouteUnknown,
    HTTPStatus.REQUEST_TIMEOUT: RequestTimeout,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RequestTooLarge,
    HTTPStatus.TOO_MANY_REQUESTS: LimitExceeded,
    HTTPStatus.BAD_GATEWAY: ServerUnreachable,
    HTTPStatus.SERVICE_UNAVAILABLE: ServerUnreachable,
    HTTPStatus.GATEWAY_TIMEOUT: ServerUnreachable,
}


class RestTransport:
    """Asks over HTTP.

    Args:
        address: Of the server.
        transport: That of httpx2, if it is not the network.
    """

    def __init__(self, address: Address, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        scheme = "https" if address.is_secure else "http"
        self._base = f"{scheme}://{address.target}{address.path}/api/v1"
        headers = {"user-agent": f"headrace/{VERSION}"}
        if address.key is not None:
            headers["authorization"] = f"Bearer {address.key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            verify=_verify(address),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_MOST_IDLE),
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),  # of the rest the caller knows how long
            transport=transport,
        )

    async def ask(self, question: Question, timeout_s: float) -> Part[list[Result]]:
        """Return the results of a task."""
        _, data = await self._send("POST", question.task, timeout_s, _JSON, question)
        return Part(*read_results(question, _parse(data)))

    async def embed(self, question: Question, timeout_s: float) -> Part[FloatArray]:
        """Return embeddings, which come as bare numbers."""
        headers, data = await self._send("POST", question.task, timeout_s, _FLOATS, question)
        shape = _SHAPE.fullmatch(headers.get("x-shape", ""))
        if shape is None or len(data) != 4 * int(shape[1]) * int(shape[2]):
            raise AnswerInvalid("the server's x-shape is none, or not that of its numbers; is it a Headrace?")
        # A copy, aligned and writable, as of arrays of one's own.
        values = np.frombuffer(data, "<f4").reshape(int(shape[1]), int(shape[2])).astype(np.float32)
        return Part(headers.get("x-revision", ""), check_vectors(question, values))

    async def list_models(self, timeout_s: float) -> list[ModelShown]:
        """Return the models that are served."""
        _, data = await self._send("GET", "models", timeout_s, _JSON)
        return read_models(_parse(data))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(
        self, method: str, name: str, timeout_s: float, media: str, question: Question | None = None
    ) -> tuple[httpx2.Headers, bytes]:
        """Return the headers and the body of an answer of a type."""
        headers = {
            "accept": media,
            "accept-encoding": _CODINGS[media],
            "x-request-timeout": f"{max(_LEAST_S, timeout_s):.3f}",
        }
        body = None
        if question is not None:
            body = orjson.dumps(_body(question))
            headers |= {"content-type": _JSON, "x-routing-key": question.routing_key}
        try:
            async with self._client.stream(method, f"{self._base}/{name}", content=body, headers=headers) as response:
                is_good = response.status_code == HTTPStatus.OK
                data = await _receive(response, MOST_BYTES if is_good else _MOST_REFUSAL, refuses=is_good)
        except httpx2.TransportError as error:
            raise ServerUnreachable(
                f"no answer from {self._base} ({type(error).__name__}); is the server running there?"
            ) from error
        if not is_good:
            raise _refusal(response, data)
        if (found := _media(response)) != media:
            raise AnswerInvalid(f"the server answered with {found[:80]!r} instead of {media}; is it a Headrace?")
        return response.headers, data


def _verify(address: Address) -> ssl.SSLContext | bool:
    """Return by what a server is known; true for the authorities that httpx2 knows."""
    if not address.is_secure:  # none is asked for, and to read the system's certificates takes 50 ms
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return address.trust == SYSTEM or address.trust.context()


def _body(question: Question) -> dict[str, Any]:
    body: dict[str, Any] = {"inputs": question.inputs, "options": question.options}
    if question.model is not None:
        body["model"] = question.model
    if question.query is not None:
        body["query"] = question.query
    if question.task == "zeroshot":
        body["labels"] = question.labels
    return body


async def _receive(response: httpx2.Response, most: int, *, refuses: bool) -> bytes:
    """Return the body, or of one that is too long and is an error its beginning, or nothing if it was compressed.

    Raises:
        AnswerInvalid: It is longer, or compressed as nobody asked for, or not as it says.
    """
    shown = response.headers.get("content-encoding", "identity")
    coding = find_coding(shown)
    if coding is None and shown != "identity":
        raise AnswerInvalid("the server's answer is compressed as was not asked for; let no proxy do so")
    data = await _receive_raw(response, most, refuses=refuses)
    try:
        return data if coding is None else decompress(data, coding, most)
    except (ContentCorrupt, ContentOverlong) as error:
        if not refuses:
            return b""
        raise AnswerInvalid(
            f"the server's answer is no {coding}, or over {most >> 20} MiB when it is expanded; is it a Headrace?"
        ) from error


async def _receive_raw(response: httpx2.Response, most: int, *, refuses: bool) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > most:
            if refuses:
                raise AnswerInvalid(f"the server's answer is over {most >> 20} MiB; is it a Headrace?")
            break
    return bytes(data)


def _media(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise AnswerInvalid("the server's answer is no JSON; is it a Headrace?") from error


def _refusal(response: httpx2.Response, data: bytes) -> HeadraceError:
    """Return the error that an answer is."""
    later_s = _read_retry_after(response.headers.get("retry-after", ""))
    try:
        problem = orjson.loads(data)
    except orjson.JSONDecodeError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return make_error(problem["code"], problem.get("detail"), problem.get("field"), later_s)
    status = response.status_code
    if response.has_redirect_location:
        return AnswerInvalid(f"the server answers {status}, that it is elsewhere; give the address where it is")
    kind = _BY_STATUS.get(status, ServerFailed)
    return kind(f"the server, or what is before it, answered {status} and nothing more", retry_after_s=later_s)


def _read_retry_after(value: str) -> float | None:
    """Return the seconds of the header, which has them or a date (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
