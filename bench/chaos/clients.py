"""Clients that keep a server busy while something is done to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from bench.dialects import Vectors, answer_vectors
from bench.http_client import AnswerInvalid, Client
from bench.server import Running

CLIENTS: Final = 8
LIMIT_S: Final = 60.0
_OK: Final = 200


async def answer(running: Running, request: bytes) -> Vectors:
    """Return the vectors of one answer.

    Raises:
        AnswerInvalid: The server refuses.
    """
    client = Client(running.port)
    status, body = await client.send(request)
    client.close()
    if status != _OK:
        raise AnswerInvalid(f"status {status}: {body[:200]!r}")
    return answer_vectors(running.server.dialect, body)


async def ask(client: Client, request: bytes) -> bytes | str:
    """Send a request; returns the body of its answer, or in words what a client should not have seen."""
    try:
        async with asyncio.timeout(LIMIT_S):
            status, body = await client.send(request)
    except (OSError, TimeoutError, EOFError, AnswerInvalid) as error:
        return f"{type(error).__name__}: {error}"
    return body if status == _OK else f"status {status}: {body[:200]!r}"


@contextlib.asynccontextmanager
async def busy(running: Running, requests: int, turn: Callable[[Client, int], Awaitable[None]]) -> AsyncIterator[None]:
    """Keep clients busy for the length of the block.

    Args:
        running: Whom they ask.
        requests: How many there are to choose from.
        turn: Given a client and the number of a request, sends it.
    """
    is_over = asyncio.Event()

    async def work(first: int) -> None:
        client, number = Client(running.port), first
        while not is_over.is_set():
            number = (number + 1) % requests
            await turn(client, number)
        client.close()

    # Each begins elsewhere: what two ask at the same time would be computed once.
    tasks = [asyncio.create_task(work(number * requests // CLIENTS)) for number in range(CLIENTS)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*tasks)
