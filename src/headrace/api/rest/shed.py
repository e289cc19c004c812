"""Load shedding: requests that no engine can take are refused before anything of them is read but the head.

At ten times the capacity nine of ten requests end here, on the cores that the engine computes on. By way of the
routes a refusal takes some 500 µs, and 3,000 a second would be more than one core; here it takes a tenth of that.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from headrace.api.rest.context import Context
from headrace.api.rest.edge import choose_request_id
from headrace.api.rest.problems import MEDIA_TYPE, STATUS, problem_body, retry_after
from headrace.errors import QueueFull
from headrace.observe.base import ResponseSent
from headrace.types import TaskName

INFERENCE: Final[Mapping[str, TaskName]] = {"/api/v1/classify": "classify", "/api/v1/embed": "embed"}
"""The paths whose POST needs an engine, each with its task."""
_STATUS: Final = STATUS[QueueFull]
_MAX_DIGITS: Final = 18  # of a number of bytes; more would take Python long to read
_HEAD: Final = (
    f"HTTP/1.1 {_STATUS} Too Many Requests\r\ncontent-type: {MEDIA_TYPE}\r\n".encode()
    + b"content-length: %d\r\nretry-after: %b\r\nx-request-id: %b\r\n\r\n"
)


class Shedder:
    """Writes the refusals of requests that come while every queue is full.

    The guard is not asked, nor whether the Host header is one of ours: who may not ask hears "later" instead of "no",
    and learns nothing but that the server is busy. An answer that is remembered is refused as well, since only the
    body says that it is.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks = {path.encode(): task for path, task in INFERENCE.items()}

    def refuse(self, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """Return the whole response to a POST that cannot be taken; nothing if it is to be handled as any other.

        Args:
            url: As it stands in the request line.
            headers: Names in lower case.
        """
        task = self._tasks.get(url)
        if task is None or self._context.is_draining:
            return None
        started, found = time.monotonic(), dict(headers)
        try:
            self._context.service.refuse_if_full(task, self._size(found.get(b"content-length", b"")))
        except QueueFull as error:
            request_id = choose_request_id(found.get(b"x-request-id", b"").decode("latin-1"))
            body = problem_body(error, _STATUS, request_id)
            self._state(url.decode(), request_id, time.monotonic() - started)
            return _HEAD % (len(body), retry_after(error.retry_after_s or 0).encode(), request_id.encode()) + body
        return None

    def _size(self, told: bytes) -> int:
        """Return the bytes of a body as its head has them, at most as many as are allowed."""
        most = self._context.settings.server.max_body_bytes
        return min(most, int(told)) if told.isdigit() and len(told) <= _MAX_DIGITS else most

    def _state(self, path: str, request_id: str, duration_s: float) -> None:
        self._context.observer.observe(
            ResponseSent(
                route=path,
                method="POST",
                path=path,
                status=_STATUS,
                request_id=request_id,
                caller="",
                duration_s=duration_s,
                is_shed=True,
            )
        )
