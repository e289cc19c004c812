"""The part `kills`: the engine of the served model is killed again and again under load, and no client notices."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from bench import proctree
from bench.chaos.clients import CLIENTS, LIMIT_S, answer, ask, busy
from bench.chaos.promise import Promise
from bench.dialects import Vectors, answer_vectors, http_request, request_body
from bench.http_client import Client
from bench.load import probe
from bench.model import Model
from bench.progress import say
from bench.server import Running, read_servers, running_server, wait_for_answer
from bench.stats import spread

T = TypeVar("T")
PART: Final = "kills"
KILLS: Final = 50
_MAX_DOWN_S: Final = 2.0
_MAX_DIFFERENCE: Final = 1e-5
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
    expected = [await answer(running, request) for request in requests]
    seen = Seen()

    async def turn(client: Client, number: int) -> None:
        sent = time.monotonic()
        wrong = _judge(await ask(client, requests[number]), running.server.dialect, expected[number])
        if wrong:
            seen.wrong.append(wrong)
        else:
            seen.answered += 1
            seen.sent.append(sent)

    say(f"kills: {kills} of them, {CLIENTS} clients")
    async with busy(running, len(requests), turn):
        return seen, [await _kill(running.process.pid, seen) for _ in range(kills)]


def _judge(said: bytes | str, dialect: str, expected: Vectors) -> str:
    """Return what is wrong with what came back, or nothing."""
    if isinstance(said, str):
        return said
    difference = float(np.abs(answer_vectors(dialect, said) - expected).max())
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
    async with asyncio.timeout(LIMIT_S):
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
