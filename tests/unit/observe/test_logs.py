import asyncio
import datetime as dt
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from headrace.observe.base import (
    REQUEST_ID,
    BatchFinished,
    CallEnded,
    EngineRestarted,
    ModelLoaded,
    QueueChanged,
    ReaderLeft,
    RequestFinished,
    RequestsShed,
    ResponseSent,
    SpansLost,
    TextQuarantined,
    VersionSwitched,
)
from headrace.observe.logs import LEVELS, LogObserver, configure_logs, escape
from headrace.settings import LogSettings
from headrace.types import Caller, Timings

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
RESPONSE = ResponseSent(
    route="/api/v1/embed",
    method="POST",
    path="/api/v1/embed",
    status=200,
    request_id="r1",
    caller="key-0a1b2c3d",
    duration_s=0.0123456,
)
DIARY = "yraid terces"[::-1]  # backwards, since a traceback shows lines of source
BATCH = BatchFinished(model="minilm", texts=4, tokens=60, padded_tokens=64, failed=1, run_s=0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    REQUEST_ID.set(None)
    structlog.reset_defaults()


def start(stream: io.StringIO | None = None, **settings: Any) -> io.StringIO:
    stream = stream or io.StringIO()
    configure_logs(LogSettings(**settings), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(text: str) -> None:
    held = text * 2  # an input in a local variable, as on the way through the service
    raise ValueError(f"{len(held)} characters\n2030-01-01T00:00:00Z [info     ] forged\x1b[2J")


def test_a_json_line_says_what_when_how_bad_and_in_which_request() -> None:
    stream = start()
    REQUEST_ID.set("r7")
    structlog.get_logger().info("model.loaded", model="minilm")
    [line] = lines(stream)
    assert TIMESTAMP.fullmatch(line["timestamp"])
    assert dt.datetime.fromisoformat(line["timestamp"]).utcoffset() == dt.timedelta(0)
    del line["timestamp"]
    assert line == {"event": "model.loaded", "level": "info", "model": "minilm", "request_id": "r7"}


def test_the_level_is_the_least_severe_line_that_is_written() -> None:
    stream = start(level="warning")
    for level in LEVELS:
        getattr(structlog.get_logger(), level)("said")
    assert [line["level"] for line in lines(stream)] == ["warning", "error"]


@pytest.mark.parametrize(
    ("chosen", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
def test_the_format_is_the_one_chosen_or_fits_the_stream(chosen: str, stream: io.StringIO, is_json: bool) -> None:
    start(stream, format=chosen)
    structlog.get_logger().info("model.loaded")
    assert stream.getvalue().startswith("{") == is_json
    assert ("\x1b[" in stream.getvalue()) == (isinstance(stream, Terminal) and not is_json)


@pytest.mark.parametrize("name", ["uvicorn.error", "huggingface_hub.file_download", "asyncio", "somebody.else"])
def test_a_library_writes_in_the_same_format_from_warning_on(name: str) -> None:
    logging.getLogger(name.partition(".")[0]).addHandler(logging.StreamHandler())
    stream = start(level="debug")
    logging.getLogger(name).info("not this")
    logging.getLogger(name).warning("retry %d", 3)
    [line] = lines(stream)
    assert TIMESTAMP.fullmatch(line.pop("timestamp"))
    assert line == {"event": "retry 3", "level": "warning", "logger": name}


def test_the_level_holds_for_libraries_too() -> None:
    stream = start(level="error")
    logging.getLogger("uvicorn.error").warning("not this")
    logging.getLogger("uvicorn.error").error("this")
    assert [line["event"] for line in lines(stream)] == ["this"]


def test_a_handler_a_library_brought_does_not_write_the_line_again() -> None:
    other = io.StringIO()
    logging.getLogger("huggingface_hub").addHandler(logging.StreamHandler(other))
    stream = start()
    logging.getLogger("huggingface_hub").warning("once")
    assert len(lines(stream)) == 1
    assert other.getvalue() == ""


def test_a_warning_is_a_line_and_not_loose_text() -> None:
    stream = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    [line] = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old way" in line["event"]


@pytest.mark.parametrize("is_library", [False, True])
def test_a_traceback_in_json_is_structured_and_shows_no_variable(is_library: bool) -> None:
    stream = start()
    log = logging.getLogger("asyncio") if is_library else structlog.get_logger()
    try:
        fail(DIARY)
    except ValueError:
        log.exception("batch.failed")
    [line] = lines(stream)
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["frames"][-1]["name"] == "fail"
    assert DIARY not in stream.getvalue()
    assert "locals" not in line["exception"][0]["frames"][-1]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_traceback_on_the_console_is_indented_and_shows_no_variable(stream: io.StringIO) -> None:
    start(stream, format="console")
    try:
        fail(DIARY)
    except ValueError:
        structlog.get_logger().exception("batch.failed", model="minilm")
    first, *rest = stream.getvalue().splitlines()
    assert "batch.failed" in first
    assert len(rest) > 3
    assert all(line.startswith("    ") for line in rest)
    assert "\\x1b[2J" in rest[-1]
    assert DIARY not in stream.getvalue()


FORGED = "x\n2030-01-01T00:00:00Z [info     ] forged\r\x1b[2J\u2028\u202e\x00\udc80"


@pytest.mark.parametrize("place", ["value", "event", "list", "library"])
def test_no_value_can_forge_a_line_on_the_console(place: str) -> None:
    stream = start(format="console")
    log = structlog.get_logger()
    match place:
        case "value":
            log.info("response.sent", path=FORGED)
        case "event":
            log.info(FORGED)
        case "list":
            log.info("response.sent", paths=[FORGED])
        case _:
            logging.getLogger("uvicorn").warning("bad path %s", FORGED)
    text = stream.getvalue()
    assert len(text.splitlines()) == 1
    assert text.removesuffix("\n").isprintable()
    assert "\\u202e" in text
    text.encode("utf-8")


def test_no_value_can_forge_a_line_in_json() -> None:
    stream = start(format="json")
    structlog.get_logger().info("response.sent", path=FORGED)
    assert stream.getvalue().isascii()
    assert [line["path"] for line in lines(stream)] == [FORGED]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("plain é 漢", "plain é 漢"), ("a\nb", "a\\nb"), ("\x1b[0m", "\\x1b[0m"), ("\u202e", "\\u202e"), ("", "")],
)
def test_escaping_changes_only_what_does_not_print(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_each_response_is_an_access_line() -> None:
    stream = start()
    LogObserver().observe(RESPONSE)
    [line] = lines(stream)
    del line["timestamp"]
    assert line == {
        "event": "response.sent",
        "level": "info",
        "method": "POST",
        "path": "/api/v1/embed",
        "status": 200,
        "duration_ms": 12.346,
        "caller": "key-0a1b2c3d",
        "request_id": "r1",
    }


def test_a_logger_that_is_kept_names_the_request_that_is_answered_each_time() -> None:
    stream = start()
    observer = LogObserver()
    for request_id in ("r1", "r2"):
        REQUEST_ID.set(request_id)
        observer.observe(VersionSwitched(model="m", revision="0" * 64, role="champion"))
        observer.observe(replace(RESPONSE, request_id=f"{request_id} itself"))
    assert [line["request_id"] for line in lines(stream)] == ["r1", "r1 itself", "r2", "r2 itself"]


@pytest.mark.parametrize("route", ["/livez", "/readyz", "/metrics"])
def test_what_watches_the_server_is_logged_at_debug_only(route: str) -> None:
    stream = start(level="debug")
    fact = ResponseSent(route=route, method="GET", path=route, status=200, request_id="r", caller="", duration_s=0)
    LogObserver().observe(fact)
    assert [line["level"] for line in lines(stream)] == ["debug"]
    start(stream=(quiet := io.StringIO()))
    LogObserver().observe(fact)
    assert quiet.getvalue() == ""


@pytest.mark.parametrize(
    ("method", "levels"), [("headrace.v1.Inference/Embed", ["info"]), ("grpc.health.v1.Health/Check", [])]
)
def test_a_call_has_a_line_unless_it_watches_the_server(method: str, levels: list[str]) -> None:
    stream = start()
    LogObserver().observe(CallEnded(method=method, status="OK", request_id="r", caller="key-1", duration_s=0.0123456))
    found = lines(stream)
    assert [line["level"] for line in found] == levels
    assert [(line["event"], line["method"], line["duration_ms"]) for line in found] == [
        ("call.ended", method, 12.346) for _ in levels
    ]


def test_a_path_as_long_as_a_client_likes_is_cut() -> None:
    stream = start()
    path = "/" + "x" * 10_000
    LogObserver().observe(
        ResponseSent(route="", method="GET", path=path, status=404, request_id="r", caller="", duration_s=0)
    )
    assert [line["path"] for line in lines(stream)] == [path[:256]]


def test_a_batch_with_failed_texts_is_a_warning() -> None:
    stream = start()
    LogObserver().observe(BATCH)
    [line] = lines(stream)
    del line["timestamp"]
    assert line == {"event": "batch.failed", "level": "warning", "model": "minilm", "texts": 4, "failed": 1}


def test_an_engine_that_died_and_a_text_that_did_it_are_lines() -> None:
    stream = start()
    observer = LogObserver()
    observer.observe(EngineRestarted(model="minilm", reason="SIGSEGV", suspects=2, down_s=0.5))
    observer.observe(TextQuarantined(model="minilm", digest="0123456789ab"))
    restarted, quarantined = lines(stream)
    del restarted["timestamp"], quarantined["timestamp"]
    assert restarted == {
        "event": "engine.restarted",
        "level": "warning",
        "model": "minilm",
        "reason": "SIGSEGV",
        "suspects": 2,
        "down_ms": 500,
    }
    assert quarantined == {"event": "text.quarantined", "level": "error", "model": "minilm", "sha256": "0123456789ab"}


def test_models_that_are_loaded_and_readers_that_left_are_lines() -> None:
    stream = start()
    observer = LogObserver()
    observer.observe(ModelLoaded(model="minilm", revision="r", took_s=1.25))
    observer.observe(ReaderLeft(caller="ada", reason="reader.slow", events=3, stayed_s=9.0004))
    loaded, left = lines(stream)
    del loaded["timestamp"], left["timestamp"]
    assert loaded == {"event": "model.loaded", "level": "info", "model": "minilm", "revision": "r", "took_ms": 1250}
    assert left == {
        "event": "reader.left",
        "level": "info",
        "caller": "ada",
        "reason": "reader.slow",
        "events": 3,
        "stayed_s": 9.0,
    }


def test_what_went_well_needs_no_line() -> None:
    stream = start(level="debug")
    observer = LogObserver()
    observer.observe(BatchFinished(model="minilm", texts=4, tokens=60, padded_tokens=64, failed=0, run_s=0.01))
    observer.observe(QueueChanged(model="minilm", waiting=3))
    observer.observe(
        RequestFinished(
            caller=Caller("ada", frozenset()),
            task="embed",
            model="minilm",
            outcome="ok",
            inputs=1,
            cached=0,
            tokens=3,
            timings=Timings(),
        )
    )
    assert stream.getvalue() == ""


async def test_requests_that_run_at_once_keep_their_own_ids() -> None:
    stream = start()

    async def answer(request_id: str) -> None:
        REQUEST_ID.set(request_id)
        await asyncio.sleep(0)
        structlog.get_logger().info("said", said_by=request_id)

    await asyncio.gather(*(answer(f"r{number}") for number in range(5)))
    assert len(lines(stream)) == 5
    assert all(line["request_id"] == line["said_by"] for line in lines(stream))


def test_refusals_for_overload_share_a_line_a_second() -> None:
    stream, now = start(), [0.0]
    observer = LogObserver(lambda: now[0])
    shed = RequestsShed(task="embed", outcome="queue.full", route="/api/v1/embed", method="POST", status=429, count=1)
    for now[0] in (10.0, 10.1, 10.9, 11.1, 11.2):
        observer.observe(shed)
    now[0] = 12.5
    observer.observe(RESPONSE)
    observer.observe(RESPONSE)
    told = [(line["event"], line["level"], line.get("count")) for line in lines(stream)]
    assert told[:3] == [
        ("requests.shed", "warning", 1),
        ("requests.shed", "warning", 3),
        ("requests.shed", "warning", 1),
    ]
    assert [event for event, *_ in told[3:]] == ["response.sent"] * 2


def test_spans_that_were_lost_have_a_line_with_the_reason() -> None:
    stream = start(format="json")
    LogObserver().observe(SpansLost(reason="queue_full", count=7))
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["reason"], line["count"]) == ("spans.lost", "warning", "queue_full", 7)
