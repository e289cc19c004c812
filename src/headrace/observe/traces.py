"""Which trace a request is part of: W3C Trace Context, read from what its caller sent.

https://www.w3.org/TR/trace-context/. Spans are made of facts when a request has ended; all that is settled before is
what its answer and its log lines must say already.
"""

import random
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Protocol

PARENT: Final = "traceparent"
STATE: Final = "tracestate"

# A later version of the format may go on after a hyphen; ours ends here.
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?")
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER: Final = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MAX_STATE: Final = 512  # as many must be passed on; more would be kept with each span
_MAX_MEMBERS: Final = 32
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Which trace a request is part of, as W3C Trace Context writes it: lower-case hex digits.

    Attributes:
        trace_id: 32 digits, not all zero.
        span_id: Of the span of this request, 16 digits, not all zero.
        parent_id: Of the span that it is a part of, or ``""`` if the trace begins here.
        is_sampled: Whether spans are kept of it.
        state: What the tracing systems on the way here have added: a ``tracestate`` of at most 512 characters.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    is_sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The same as the header of that name."""
        return f"00-{self.trace_id}-{self.span_id}-{self.is_sampled:02x}"


TRACE: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)
"""The trace of the request that is being answered, where traces are kept."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the time of a request.

    Attributes:
        start_s: When it began, from the begin of the request.
    """

    name: str
    start_s: float
    duration_s: float


class Tracer(Protocol):
    """Says which trace a request is part of."""

    def begin(self, headers: Callable[[str], Sequence[str]]) -> Trace | None:
        """Return the trace of a request that comes in, or nothing where traces are not kept.

        Args:
            headers: Returns all values of a header, by its name in lower case.
        """
        ...


class Untraced:
    """Keeps no traces, and looks at no header."""

    def begin(self, headers: Callable[[str], Sequence[str]]) -> Trace | None:  # noqa: ARG002 - as the port has it
        """Return nothing."""
        return None


class SampledTracer:
    """Goes on with the trace of whoever asks, who also decides whether spans are kept of it; else begins one.

    What cannot be read is as if it had not been sent.

    Args:
        ratio: Share of the traces that begin here of which spans are kept, from 0 to 1.
    """

    def __init__(self, ratio: float) -> None:
        self._below = round(ratio * (1 << 64))

    def begin(self, headers: Callable[[str], Sequence[str]]) -> Trace | None:
        """Return the trace of a request."""
        span_id = f"{random.getrandbits(64) or 1:016x}"
        parent = _read_parent(headers(PARENT))
        if parent is None:
            number = random.getrandbits(128) or 1
            # The same half of the id as others go by, so that with one ratio all keep the same traces.
            is_sampled = number & ((1 << 64) - 1) < self._below
            return Trace(trace_id=f"{number:032x}", span_id=span_id, is_sampled=is_sampled)
        trace_id, parent_id, flags = parent
        return Trace(
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent_id,
            is_sampled=bool(int(flags, 16) & _SAMPLED),
            state=_read_state(headers(STATE)),
        )


def _read_parent(values: Sequence[str]) -> tuple[str, str, str] | None:
    """Return the trace, the span and the flags that a caller sent; nothing if it sent none, several or other things."""
    found = _PARENT.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return trace_id, span_id, flags


def _read_state(values: Sequence[str]) -> str:
    """Return what was added on the way; nothing of it if any of it is not as it should be."""
    sent = ",".join(values)
    if len(sent) > _MAX_STATE:
        return ""
    members = [member for part in sent.split(",") if (member := part.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {member[1] for member in found if member}
    return ",".join(members) if len(keys) == len(members) <= _MAX_MEMBERS else ""
