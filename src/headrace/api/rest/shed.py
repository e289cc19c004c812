"""Load shedding: requests that no engine can take are refused before anything of them is read but the head.

At ten times the capacity nine of ten requests end here, on the cores that the engine computes on. By way of the
routes a refusal takes some 500 µs, and 3,000 a second would be more than one core; here it takes a tenth of that. So it
is told together with others, too: to count and log each would take nearly as long again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.api.context import Context
from headrace.api.credentials import shown_key
from headrace.api.request_ids import choose_request_id
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.refusals import STATUS, ErrorShape, retry_after
from headrace.api.rest.whole import Headers
from headrace.auth.base import Credentials
from headrace.errors import QueueFull
from headrace.observe.base import RequestsShed
from headrace.types import TaskName

_STATUS: Final = STATUS[QueueFull]
_TELL_AFTER_S: Final = 0.1
_MAX_DIGITS: Final = 18  # of a number of bytes; more would take Python long to read
_HEAD: Final = (
    f"HTTP/1.1 {_STATUS} Too Many Requests\r\n".encode()
    + b"content-type: %b\r\ncontent-length: %d\r\nretry-after: %b\r\nx-request-id: %b\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Sheddable:
    """A path whose POST needs an engine.

    Attributes:
        task: What is asked there; nothing if that is what the model does.
        errors: What a refusal looks like there.
    """

    task: TaskName | None
    errors: ErrorShape


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a request was shed.

    Attributes:
        route: The path, with ``{name}`` for a model's name.
    """

    route: str
    task: TaskName


class Shedder:
    """Writes the refusals of requests that come while every queue is full.

    The guard is asked only whose share of the queue is to be looked at, and nobody whether the Host header is one of
    ours: who may not ask hears "later" instead of "no", and learns nothing but that the server is busy. An answer that
    is remembered is refused as well, since only the body says that it is.

    Args:
        context: What the routes share.
        paths: Those that may be shed; ``{name}`` stands for the name of each model that is served.
    """

    def __init__(self, context: Context, paths: Mapping[str, Sheddable]) -> None:
        self._context = context
        served = context.service.served_tasks
        self._places = {
            route.replace("{name}", name).encode(): (_Place(route, sheddable.task or task), sheddable.errors)
            for route, sheddable in paths.items()
            for name, task in served.items()  # without a name in its path, a route is the same for all
        }
        self._untold = Counter[_Place]()

    def refuse(self, url: bytes, told: Headers, read_headers: Callable[[], Headers]) -> bytes | None:
        """Return the whole response to a POST that cannot be taken; nothing if it is to be handled as any other.

        Args:
            url: As it stands in the request line.
            told: At least the headers with the length and the request's id, names in lower case.
            read_headers: Returns all of them.
        """
        place, errors = self._places.get(url, (None, PROBLEM))
        if place is None or self._context.is_draining:
            return None
        found = dict(told)
        try:
            size_bytes = self._size(found.get(b"content-length", b""))
            self._context.service.refuse_if_full(size_bytes, lambda: self._tenant(read_headers()))
        except QueueFull as error:
            request_id = choose_request_id(found.get(b"x-request-id", b"").decode("latin-1"))
            body = errors.body(error, _STATUS, request_id)
            self._count(place)
            later = retry_after(error.retry_after_s or 0).encode()
            return _HEAD % (errors.media_type.encode(), len(body), later, request_id.encode()) + body
        return None

    def _tenant(self, headers: Headers) -> str | None:
        found = dict(reversed(headers))  # of several that are called the same the first one counts, as with the routes
        shown = (found.get(name, b"").decode("latin-1") or None for name in (b"authorization", b"x-api-key"))
        return self._context.tenant_of(Credentials(peer=None, key=shown_key(*shown)))

    def _size(self, told: bytes) -> int:
        """Return the bytes of a body as its head has them, at most as many as are allowed."""
        most = self._context.settings.server.max_body_bytes
        return min(most, int(told)) if told.isdigit() and len(told) <= _MAX_DIGITS else most

    def _count(self, place: _Place) -> None:
        if not self._untold:
            asyncio.get_running_loop().call_later(_TELL_AFTER_S, self._tell)
        self._untold[place] += 1

    def _tell(self) -> None:
        """State what was refused since the last time."""
        for place, count in self._untold.items():
            self._context.observer.observe(
                RequestsShed(
                    task=place.task,
                    outcome=QueueFull.code,
                    route=place.route,
                    method="POST",
                    status=_STATUS,
                    count=count,
                )
            )
        self._untold.clear()
