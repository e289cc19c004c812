"""Events over the real HTTP server: clients that leave, stop reading, or ask on, and a server that stops."""

import asyncio
import gc
import socket
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import structlog
from tests.support.server import receive_all, receive_one
from tests.support.services import KEPT_EVENTS, MOST_READERS, ServiceUnderTest, service_under_test
from tests.support.sse import Follower, ask, follow

from headrace import readers as readers_module
from headrace.api.context import Context
from headrace.api.rest.app import build_app
from headrace.api.rest.server import RestServer, bind
from headrace.events.base import Event
from headrace.observe.base import ReaderJoined, ReaderLeft, ResponseSent
from headrace.settings import ServerSettings, Settings

LIMIT_S = 20.0
SETTINGS = Settings(server=ServerSettings(port=0, linger_s=0.1, drain_timeout_s=15))


@dataclass
class Served:
    """A server in this process, and what is behind it."""

    it: ServiceUnderTest
    context: Context
    server: RestServer
    port: int
    stop: asyncio.Event
    running: asyncio.Task[None]

    def publish(self, count: int, size: int = 0) -> None:
        for number in range(count):
            self.it.events.publish(Event(subject="limit.exceeded", fields={"number": number, "text": "x" * size}))

    async def follow(self, query: str = "", receive_bytes: int | None = None) -> Follower:
        return await asyncio.to_thread(follow, self.port, query, receive_bytes=receive_bytes)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    @property
    def left(self) -> list[str]:
        return [fact.reason for fact in self.it.recorder.of(ReaderLeft)]

    @property
    def answered(self) -> list[tuple[str, int]]:
        return [(fact.route, fact.status) for fact in self.it.recorder.of(ResponseSent)]


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    monkeypatch.setattr(readers_module, "_SILENCE_S", 0.05)
    monkeypatch.setattr(readers_module, "_TAKE_S", 0.5)
    async with service_under_test() as it:
        context = it.context(settings=SETTINGS)
        server, stop, started = RestServer(build_app(context), context), asyncio.Event(), asyncio.Event()
        with bind(SETTINGS.server) as listener:
            running = asyncio.create_task(server.run_on(listener, stop, started.set))
            await started.wait()
            yield Served(it, context, server, listener.getsockname()[1], stop, running)
            stop.set()
            await running


async def test_a_reader_is_told_what_happens_while_it_does(served: Served):
    with await served.follow() as follower:
        assert follower.reply.status == 200
        assert follower.reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert follower.reply.headers["cache-control"] == "no-store"
        served.publish(2)
        told = await asyncio.to_thread(follower.take, 2)
        assert [each.data["number"] for each in told] == [0, 1]
        assert follower.lines[0].startswith("retry: ")
        assert 1000 <= int(follower.lines[0].removeprefix("retry: ")) <= 4000


async def test_silence_is_broken_by_comments(served: Served):
    with await served.follow() as follower:
        waits = asyncio.create_task(asyncio.to_thread(follower.next))
        await served.until(lambda: follower.comments >= 2)
        served.publish(1)
        assert await waits is not None


async def test_a_client_that_leaves_leaves_nothing_behind(served: Served):
    followers = [await served.follow() for _ in range(2)]
    await served.until(lambda: len(served.it.recorder.of(ReaderJoined)) == 2)
    followers[0].connection.close()
    followers[1].connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    followers[1].connection.close()  # a reset
    await served.until(lambda: len(served.left) == 2 and len(served.answered) == 2)
    assert served.left == ["client.left"] * 2
    assert served.answered == [("/api/v1/events", 200)] * 2
    assert not served.context.readers._open
    assert not served.context.readers._of_callers
    assert not served.server.server_state.tasks


async def test_a_client_that_leaves_while_another_request_of_it_waits_is_noticed_too(served: Served):
    connection = await asyncio.to_thread(ask, served.port)
    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")  # in the pipeline: nothing is read any more
    await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    await served.until(lambda: served.left == ["client.left"])


async def test_how_long_a_reader_stays_is_no_time_of_an_answer(served: Served):
    with await served.follow() as follower:
        await served.until(lambda: follower.comments >= 0 and bool(served.it.recorder.of(ReaderJoined)))
        await asyncio.sleep(0.3)
    await served.until(lambda: bool(served.answered) and bool(served.left))
    (left,), (sent,) = served.it.recorder.of(ReaderLeft), served.it.recorder.of(ResponseSent)
    assert left.stayed_s >= 0.3
    assert sent.duration_s < left.stayed_s


async def test_a_reader_that_does_not_read_costs_no_memory_and_is_cut_off(served: Served):
    connection = await asyncio.to_thread(ask, served.port, receive_bytes=4096)
    await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
    served.publish(KEPT_EVENTS, size=20_000)
    await asyncio.sleep(0.05)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(100):  # 10,000 events in a second or so
        served.publish(100, size=20_000)
        await asyncio.sleep(0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = KEPT_EVENTS * 21_000
    assert after - before < 3 * kept, "what is kept has taken the place of what was kept, and little else"
    await served.until(lambda: served.left == ["reader.slow"])
    await served.until(lambda: not served.server.server_state.connections and not served.server.server_state.tasks)
    with connection:
        data = await asyncio.to_thread(receive_all, connection)
    assert data.startswith(b"HTTP/1.1 200")


async def test_a_slow_reader_that_reads_on_is_told_why_it_is_dropped(served: Served):
    connection = await asyncio.to_thread(ask, served.port, receive_bytes=4096)
    await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
    for _ in range(20):
        served.publish(KEPT_EVENTS, size=20_000)
        await asyncio.sleep(0)
    with structlog.testing.capture_logs() as lines, await asyncio.to_thread(Follower, connection) as follower:
        told = await asyncio.to_thread(follower.rest)
    assert (told[-1].subject, told[-1].data["reason"], told[-1].id) == ("reader.dropped", "reader.slow", None)
    assert follower.is_whole
    assert served.left == ["reader.slow"]
    assert lines == []
    again = await served.follow(f"?after={told[-2].id}")
    with again:
        assert [each.subject for each in await asyncio.to_thread(again.take, 2)] == ["events.missed", "limit.exceeded"]


async def test_the_server_answers_others_while_a_reader_does_not_read(served: Served):
    with await asyncio.to_thread(ask, served.port, receive_bytes=4096):
        await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
        served.publish(KEPT_EVENTS, size=20_000)
        with await served.follow("?after=0") as other:
            assert len(await asyncio.to_thread(other.take, KEPT_EVENTS)) == KEPT_EVENTS


async def test_a_connection_that_was_used_before_can_follow(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await asyncio.to_thread(receive_one, connection)).status == 200
        connection.sendall(b"GET /api/v1/events?subject=nothing HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await asyncio.to_thread(receive_one, connection)).status == 422  # and it goes on
        connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        follower = await asyncio.to_thread(Follower, connection)
        served.publish(1)
        assert len(await asyncio.to_thread(follower.take, 1)) == 1
    with await served.follow() as another:
        assert another.reply.status == 200


async def test_stopping_tells_readers_and_waits_for_none(served: Served):
    followers = [await served.follow() for _ in range(2)]
    dead = await asyncio.to_thread(ask, served.port, receive_bytes=4096)
    await served.until(lambda: len(served.it.recorder.of(ReaderJoined)) == 3)
    served.publish(10, size=100_000)  # more than fits the way to the one that does not read
    await asyncio.gather(*(asyncio.to_thread(each.take, 10) for each in followers))
    begun = time.monotonic()
    with structlog.testing.capture_logs() as lines:
        served.stop.set()
        ends = await asyncio.gather(*(asyncio.to_thread(each.rest) for each in followers))
        await served.running
    assert [[(each.subject, each.data["reason"]) for each in end] for end in ends] == [
        [("reader.dropped", "server.stopping")]
    ] * 2
    assert all(each.is_whole for each in followers)
    assert time.monotonic() - begun < SETTINGS.server.drain_timeout_s / 2
    assert sorted(served.left) == ["server.stopping"] * 3
    assert not [line for line in lines if line["log_level"] == "error"]
    for connection in (*(each.connection for each in followers), dead):
        connection.close()


async def test_a_reader_that_has_not_read_little_does_not_keep_the_server_either(served: Served):
    """What is left is less than stops a writer, and still nobody takes it."""
    dead = await asyncio.to_thread(ask, served.port, receive_bytes=4096)
    await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
    for _ in range(2000):
        served.publish(1, size=20_000)
        await asyncio.sleep(0)
        (state,) = served.server.server_state.connections
        if state.transport.get_write_buffer_size():
            break
    begun = time.monotonic()
    served.stop.set()
    await served.running
    assert time.monotonic() - begun < SETTINGS.server.drain_timeout_s / 2
    dead.close()


async def test_while_the_server_stops_nobody_begins_to_follow(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.to_thread(receive_one, connection)
        served.context.readers.stop()
        connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        reply = await asyncio.to_thread(receive_one, connection)
    assert (reply.status, reply.json()["code"]) == (503, "service.stopping")


async def test_there_are_no_more_readers_than_may_be_and_one_that_leaves_makes_room(served: Served):
    one_caller = MOST_READERS // 4
    followers = [await served.follow() for _ in range(one_caller)]
    with await served.follow() as refused:
        assert (refused.reply.status, refused.reply.json()["code"]) == (429, "readers.full")
        assert refused.reply.headers["retry-after"] == "5"
        assert "'local'" in refused.reply.json()["detail"]
    followers.pop().connection.close()
    await served.until(lambda: len(served.left) == 1)
    followers.append(await served.follow())
    assert followers[-1].reply.status == 200
    for each in followers:
        each.connection.close()


async def test_a_reader_of_http_1_0_is_answered_and_its_connection_ends(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"GET /api/v1/events?after=0 HTTP/1.0\r\nhost: localhost\r\n\r\n")
        await served.until(lambda: bool(served.it.recorder.of(ReaderJoined)))
        served.context.readers.stop()
        assert b"event: reader.dropped" in await asyncio.to_thread(receive_all, connection)
