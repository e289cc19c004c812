import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from bench import http_client
from bench.http_client import AnswerInvalid, Client

REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@asynccontextmanager
async def answering(answer: Callable[[int], bytes]) -> AsyncIterator[tuple[Client, list[int]]]:
    """Run a server that gives an answer by the number of the connection, and hangs up if that is cut short."""
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        number = connections[-1]
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer(number))
                if b"close" in answer(number) or not answer(number).endswith((b"hi", b"0\r\n\r\n")):
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    client = Client(server.sockets[0].getsockname()[1])
    try:
        yield client, connections
    finally:
        client.close()
        server.close()
        await server.wait_closed()


async def test_a_connection_is_used_again() -> None:
    async with answering(lambda _: WHOLE) as (client, connections):
        assert [await client.send(REQUEST) for _ in range(3)] == [(200, b"hi")] * 3
    assert connections == [0]


async def test_a_connection_that_the_server_closes_is_opened_anew() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
    async with answering(lambda _: closing) as (client, connections):
        assert [await client.send(REQUEST) for _ in range(2)] == [(200, b"hi")] * 2
    assert connections == [0, 1]


async def test_a_chunked_answer_is_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"
    async with answering(lambda _: chunked) as (client, _):
        assert [await client.send(REQUEST) for _ in range(2)] == [(200, b"abcde")] * 2


async def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1)
    async with answering(lambda _: WHOLE) as (client, _):
        with pytest.raises(AnswerInvalid, match="more than"):
            await client.send(REQUEST)


async def test_after_an_answer_that_was_cut_short_the_next_one_is_whole() -> None:
    async with answering(lambda number: WHOLE[:-1] if number == 0 else WHOLE) as (client, _):
        with pytest.raises(asyncio.IncompleteReadError):
            await client.send(REQUEST)
        assert await client.send(REQUEST) == (200, b"hi")


@pytest.mark.parametrize("answer", [b"ICY 200 OK\r\n\r\n", b"hi", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nhi"])
async def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    async with answering(lambda number: answer if number == 0 else WHOLE) as (client, _):
        with pytest.raises(AnswerInvalid, match="no answer"):
            await client.send(REQUEST)
        assert await client.send(REQUEST) == (200, b"hi")


async def test_a_request_that_is_given_up_takes_its_connection_along() -> None:
    async with answering(lambda _: WHOLE) as (client, connections):
        await client.send(REQUEST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await client.send(REQUEST)
        assert await client.send(REQUEST) == (200, b"hi")
    assert connections == [0, 1]


async def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew_for_the_request_after_next() -> None:
    async with answering(lambda number: WHOLE) as (client, connections):
        await client.send(REQUEST)
        assert client._connection is not None
        client._connection.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await client.send(REQUEST)
        assert await client.send(REQUEST) == (200, b"hi")
    assert connections == [0, 1]
