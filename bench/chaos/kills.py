"""The part `kills`: the engine of the served model is killed again and again under load, and no client notices."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from bench import proctree
from bench.chaos.promise import Promise
from bench.dialects import Vectors, answer_vectors, http_request, request_body
from bench.http_client import AnswerInvalid, Client
from bench.load import probe
from bench.model import Model
from bench.progress import say
from bench.server import Running, read_servers, running_server, wait_for_answer
from bench.stats import spread

T = TypeVar("T")
PART: Final = "kills"
KILLS: Final = 50
_CLIENTS: Final = 8
_MAX_DOWN_S: Final = 2.0
_MAX_DIFFERENCE: Final = 1e-5
_LIMIT_S: Final = 60.0
_OK: Final = 200
_CALM_ANSWERS: Final = 20  # between two kills, so that each meets a server at work
_POLL_S: Final = 0.005
_ENGINE: Final = b"headrace.engine_process"


@dataclass(slots=True)
class Seen:
    """What the clients saw.

    Attributes:
        wrong: What a client should not have seen, in words.
        sent: When the requests that were answered well were sent (monotonic clock).
    """

    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)


def run_kills(model: Model, texts: Sequence[str], kills: int = KILLS) -> list[Promise]:
    """Kill the engine of `headrace serve` under load."""
    with running_server(read_servers(["headrace"])[0], model) as running:
        wait_for_answer(running, probe(running))
        seen, down_s = asyncio.run(_run(running, texts, kills))
    return promises(seen, down_s)


async def _run(running: Running, texts: Sequence[str], kills: int) -> tuple[Seen, list[float]]:
    requests = [
        http_request(running.port, running.server.path, request_body(running.server.dialect, [text])) for text in texts
    ]
    expected = [await _answer(running, request) for request in requests]
    seen = Seen()
    say(f"kills: {kills} of them, {_CLIENTS} clients")
    async with _clients(running, requests, expected, seen):
        return seen, [await _kill(running.process.pid, seen) for _ in range(kills)]


async def _answer(running: Running, request: bytes) -> Vectors:
    client = Client(running.port)
    status, body = await client.send(request)
    client.close()
    if status != _OK:
        raise AnswerInvalid(f"status {status}: {body[:200]!r}")
    return answer_vectors(running.server.dialect, body)


@contextlib.asynccontextmanager
async def _clients(
    running: Running, requests: Sequence[bytes], expected: Sequence[Vectors], seen: Seen
) -> AsyncIterator[None]:
    """Keep clients busy for the length of the block."""
    is_over = asyncio.Event()

    async def work(first: int) -> None:
        client, number = Client(running.port), first
        while not is_over.is_set():
            number = (number + 1) % len(requests)
            sent = time.monotonic()
            wrong = await _ask(client, running.server.dialect, requests[number], expected[number])
            if wrong:
                seen.wrong.append(wrong)
            else:
                seen.answered += 1
                seen.sent.append(sent)
        client.close()

    # Each begins elsewhere: what two ask at the same time would be computed once.
    tasks = [asyncio.create_task(work(number * len(requests) // _CLIENTS)) for number in range(_CLIENTS)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*tasks)


async def _ask(client: Client, dialect: str, request: bytes, expected: Vectors) -> str:
    """Send a request; returns what is wrong with the answer, or nothing."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            status, body = await client.send(request)
    except (OSError, TimeoutError, EOFError, AnswerInvalid) as error:
        return f"{type(error).__name__}: {error}"
    if status != _OK:
        return f"status {status}: {body[:200]!r}"
    difference = float(np.abs(answer_vectors(dialect, body) - expected).max())
    return "" if difference <= _MAX_DIFFERENCE else f"an answer that differs by {difference:.1e}"


async def _kill(server: int, seen: Seen) -> float:
    """Kill the engine, and return the seconds until a request is answered that was sent afterwards."""
    calm = seen.answered + _CALM_ANSWERS
    await _until(lambda: seen.answered >= calm)
    pid = await _until(lambda: engine_pid(server))
    if pid is None:
        raise TimeoutError("the server has no engine")
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: engine_pid(server) not in {None, pid})
    await _until(lambda: bool(seen.sent) and seen.sent[-1] > killed_at)
    return time.monotonic() - killed_at


async def _until(condition: Callable[[], T]) -> T:
    """Wait for what is true, and return it.

    Raises:
        TimeoutError: It does not come true.
    """
    async with asyncio.timeout(_LIMIT_S):
        while not (value := condition()):  # noqa: ASYNC110 - a process that ends or starts sends no event
            await asyncio.sleep(_POLL_S)
    return value


def engine_pid(server: int, proc: Path = proctree.PROC) -> int | None:
    """Return the process id of a server's engine; nothing while there is none."""
    for pid in proctree.tree(server, proc)[1:]:
        with contextlib.suppress(OSError):  # it has ended since
            if _ENGINE in (proc / str(pid) / "cmdline").read_bytes():
                return pid
    return None


def promises(seen: Seen, down_s: Sequence[float]) -> list[Promise]:
    """Say whether what was promised holds."""
    down = spread(down_s)
    values = {
        "kills": float(down.count),
        "answered": float(seen.answered),
        "failed": float(len(seen.wrong)),
        "down_min_s": down.low,
        "down_median_s": down.median,
        "down_max_s": down.high,
    }
    first = f"; the first: {seen.wrong[0]}" if seen.wrong else ""
    return [
        Promise(
            PART,
            "the engine's death fails no request",
            f"{down.count} kills, {len(seen.wrong)} of {seen.answered + len(seen.wrong):,} requests failed{first}",
            seen.answered > 0 and not seen.wrong,
            values,
        ),
        Promise(
            PART,
            f"a killed engine serves again in {_MAX_DOWN_S:g} s",
            f"median {down.median:.2f} s ({down.low:.2f} to {down.high:.2f})",
            down.high < _MAX_DOWN_S,
        ),
    ]
