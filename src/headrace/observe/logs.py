"""Log lines: one format for our own and for the libraries', JSON for machines or a console for people.

What is never in a line: an input text (facts have none, tracebacks come without local variables), a key, a
line break that a value brought along.
"""

import functools
import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from headrace.observe.base import (
    REQUEST_ID,
    BatchFinished,
    CallEnded,
    EngineRestarted,
    Fact,
    ModelLoaded,
    ReaderLeft,
    RequestsShed,
    ResponseSent,
    SpansLost,
    TextQuarantined,
    VersionRefused,
    VersionSwitched,
    is_probe,
)
from headrace.observe.traces import TRACE
from headrace.settings import LogSettings

LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# A path that is no route may be as long as a request line, and an access line needs no more to be recognised.
_MAX_PATH_CHARS: Final = 256
_SHED_PERIOD_S: Final = 1.0
# They bring handlers of their own, which would write every line a second time.
_LIBRARIES: Final = ("asyncio", "huggingface_hub", "py.warnings", "uvicorn", "uvicorn.access", "uvicorn.error")

# It logs each header that is no UTF-8 with its value, which may be a key with a wrong letter. What fails in a call of
# ours we log ourselves.
_SILENT: Final = "grpc"

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logs(settings: LogSettings, stream: TextIO) -> None:
    """Send every log line of the process to ``stream``.

    Lines of libraries (anything that uses ``logging`` or ``warnings``) come in the same format, from level warning
    on. A library that is imported later and brings a handler of its own writes with that, too.

    Args:
        settings: Least severe level, and the format; ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        stream: Usually standard error; UTF-8 or ASCII.
    """
    is_console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    before: list[Processor] = [
        add_request,
        structlog.processors.add_log_level,
        stamp_time,
    ]
    render = _console(colors=stream.isatty()) if is_console else _json()
    structlog.configure(
        processors=[*before, *render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,  # a logger that is kept, as for access lines, is put together once
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    _route_libraries(handler, max(LEVELS[settings.level], logging.WARNING))


def add_request(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Let a line say which request it is about, where one is being answered, and which trace."""
    request_id, trace = REQUEST_ID.get(), TRACE.get()
    if trace is not None:
        event = {"trace_id": trace.trace_id, **event}
    return event if request_id is None else {"request_id": request_id, **event}


def stamp_time(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Let a line say when it was written; structlog's own spells all of the date anew for each, which takes 10 µs."""
    second, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    event["timestamp"] = f"{_spell_second(second)}.{microseconds:06d}Z"
    return event


@functools.lru_cache(maxsize=1)
def _spell_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _route_libraries(handler: logging.Handler, level: int) -> None:
    logging.captureWarnings(capture=True)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.NOTSET)
        library.propagate = True
    logging.getLogger(_SILENT).setLevel(logging.CRITICAL + 1)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _json() -> list[Processor]:
    # structlog's own ``dict_tracebacks`` shows local variables, and a local variable can be somebody's text.
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, use_rich=False)
    return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer(write_json)]


def write_json(event: EventDict, default: Callable[[Any], Any]) -> str:
    """Return a line in ASCII: characters that some readers take for the end of a line are escaped."""
    try:
        line = orjson.dumps(event, default).decode()
    except TypeError:  # a lone surrogate, a key that is no string, or a number of more than 64 bits
        line = ""
    return line if line.isascii() and line else json.dumps(event, default=default)


def _console(*, colors: bool) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback)
    return [_escape_values, renderer]


def _escape_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    # Everything that is no string is shown by its repr, which escapes already.
    return {key: escape(value) if isinstance(value, str) else value for key, value in event.items()}


def escape(text: str) -> str:
    r"""Return the text with all that does not print (line breaks, terminal codes, text direction) as ``\x..``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _write_traceback(out: TextIO, error: _ExcInfo) -> None:
    # Indented, so that no line of it, an exception's message included, can pass for a log line.
    out.writelines("\n    " + escape(line) for line in "".join(traceback.format_exception(*error)).splitlines())


class LogObserver:
    """Writes an access line for each response, and a warning for failed texts and for engines that died.

    Refusals for overload have one line a second together: a line of its own for each of some thousands would cost more
    than the refusal, and fill the disk.

    Args:
        clock: Seconds that never go backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._access_log: structlog.typing.FilteringBoundLogger | None = None  # put together once
        self._clock = clock
        self._shed = 0  # since the last line about them
        self._shed_told_at = -math.inf
        self._writers: Mapping[type[Fact], Callable[[Any], None]] = {
            ResponseSent: self._response,
            CallEnded: self._call,
            RequestsShed: self._count_shed,
            BatchFinished: self._batch,
            EngineRestarted: self._restart,
            TextQuarantined: self._quarantine,
            ModelLoaded: self._load,
            ReaderLeft: self._leave,
            VersionSwitched: self._switch,
            VersionRefused: self._refuse_version,
            SpansLost: self._lose,
        }

    def observe(self, fact: Fact) -> None:
        """Write a line, if the fact is worth one."""
        write = self._writers.get(type(fact))
        if write is not None:
            write(fact)

    def _count_shed(self, fact: RequestsShed) -> None:
        self._shed += fact.count
        self._tell_shed()

    def _batch(self, fact: BatchFinished) -> None:
        if fact.failed:
            self._log.warning("batch.failed", model=fact.model, texts=fact.texts, failed=fact.failed)

    def _restart(self, fact: EngineRestarted) -> None:
        self._log.warning(
            "engine.restarted",
            model=fact.model,
            reason=fact.reason,
            suspects=fact.suspects,
            down_ms=round(fact.down_s * 1000),
        )

    def _quarantine(self, fact: TextQuarantined) -> None:
        self._log.error("text.quarantined", model=fact.model, sha256=fact.digest)

    def _load(self, fact: ModelLoaded) -> None:
        self._log.info("model.loaded", model=fact.model, revision=fact.revision, took_ms=round(fact.took_s * 1000))

    def _leave(self, fact: ReaderLeft) -> None:
        self._log.info(
            "reader.left",
            caller=fact.caller,
            reason=fact.reason,
            events=fact.events,
            stayed_s=round(fact.stayed_s, 3),
        )

    def _switch(self, fact: VersionSwitched) -> None:
        self._log.info("version.switched", model=fact.model, revision=fact.revision, role=fact.role)

    def _refuse_version(self, fact: VersionRefused) -> None:
        self._log.error("version.refused", model=fact.model, revision=fact.revision, code=fact.code, reason=fact.reason)

    def _lose(self, fact: SpansLost) -> None:
        self._log.warning("spans.lost", reason=fact.reason, count=fact.count)

    def _response(self, fact: ResponseSent) -> None:
        self._access(
            "response.sent",
            fact,
            method=fact.method,
            path=fact.path[:_MAX_PATH_CHARS],
            status=fact.status,
        )

    def _call(self, fact: CallEnded) -> None:
        self._access("call.ended", fact, method=fact.method, status=fact.status)

    def _access(self, event: str, fact: ResponseSent | CallEnded, **what: Any) -> None:
        if self._shed:
            self._tell_shed()
        level = logging.DEBUG if is_probe(fact) else logging.INFO
        log = self._access_log = self._access_log or self._log.bind()
        if not log.is_enabled_for(level):
            return
        log.log(
            level,
            event,
            **what,
            duration_ms=round(fact.duration_s * 1000, 3),
            caller=fact.caller,
            request_id=fact.request_id,
        )

    def _tell_shed(self) -> None:
        now = self._clock()
        if now - self._shed_told_at >= _SHED_PERIOD_S:
            self._log.warning("requests.shed", count=self._shed)
            self._shed, self._shed_told_at = 0, now
