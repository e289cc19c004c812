"""Redis as a request may use it: within a budget of time, and not at all while it is away.

What is asked of it here (how much a caller used, what was answered before) makes an answer better, and none depends on
it. So a request waits at most ``budget_s``, and when several in a row got no answer, nobody waits or asks for a while;
then one tries whether it is back.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from headrace.errors import SettingInvalid

R = TypeVar("R")

_BUDGET_S: Final = 0.025
_FAILURES: Final = 5  # in a row
_REST_S: Final = 1.0
# A call that nobody waits for any more ends by this, so that what it holds comes back.
_SOCKET_S: Final = 0.5
_MOST_CALLS: Final = 32  # at once, each with a connection of its own; others wait for one of them
_MOST_WAITING: Final = 2048


class RedisAway(Exception):
    """It did not answer in time, or is not asked at present."""


class RedisLink:
    """Connections to a Redis server.

    A call that is given up, or whose request was cancelled, goes on by itself to its end, so that its connection never
    gives its answer to the next one (redis-py CVE-2023-28858).

    Args:
        url: ``redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` for TLS, or ``unix://PATH``.
        budget_s: How long a request waits, which is an attribute too.
        clock: Seconds that never go backwards.

    Raises:
        SettingInvalid: It is no such URL.
    """

    def __init__(self, url: str, budget_s: float = _BUDGET_S, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            # Its own defaults, 5 s and 10 retries, would let a request wait for most of a minute.
            self._redis = Redis.from_url(
                url,
                socket_timeout=_SOCKET_S,
                socket_connect_timeout=_SOCKET_S,
                retry=Retry(NoBackoff(), 0),
                max_connections=_MOST_CALLS,
            )
        except ValueError:
            raise SettingInvalid(
                "redis.url is no redis://HOST:PORT, rediss://HOST:PORT or unix://PATH; correct or unset it",
                field="redis.url",
            ) from None  # the cause may show the password
        self.budget_s = budget_s
        self._clock = clock
        self._places = asyncio.Semaphore(_MOST_CALLS)
        self._running: set[asyncio.Task[object]] = set()
        self._given_up: set[asyncio.Task[object]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._failures = 0
        self._rests_until = 0.0

    async def call(self, command: Callable[[Redis], Awaitable[R]], within_s: float | None = None) -> R:
        """Return what a command returns.

        Args:
            command: What is asked.
            within_s: How long it is waited for, if no request does: then it may take longer, up to 0.5 s.

        Raises:
            RedisAway: It did not answer in time, or with an error, or is not asked at present.
        """
        now = self._clock()
        if now < self._rests_until or len(self._running) >= _MOST_WAITING:
            raise RedisAway
        if self._failures >= _FAILURES:
            self._rests_until = now + _REST_S  # this call alone tries, and the others wait for what it finds
        has_begun = False

        async def run() -> R:
            nonlocal has_begun
            async with self._places:
                has_begun = True
                return await command(self._redis)

        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._finished)
        try:
            await self._wait(task, self.budget_s if within_s is None else within_s)
        finally:
            if not has_begun:
                task.cancel()  # no connection holds anything of it
        if not task.done():
            if has_begun:
                self._given_up.add(task)
                self._failed("no answer in time")
            raise RedisAway
        try:
            return task.result()
        except (RedisError, OSError) as error:
            raise RedisAway from error

    async def aclose(self) -> None:
        """Give up what runs, and close the connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _wait(self, task: "asyncio.Task[R]", seconds: float) -> None:
        """Wait until a call ends, its time is over, or Redis turns out to be away."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = loop.call_later(seconds, _wake, waiter)
        task.add_done_callback(lambda _: _wake(waiter))
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            timer.cancel()

    def _finished(self, task: "asyncio.Task[object]") -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or task in self._given_up:
            self._given_up.discard(task)  # it was counted when it was given up, and comes too late to count again
        elif error is None:
            self._answered()
        else:
            self._failed(type(error).__name__)

    def _answered(self) -> None:
        if self._failures >= _FAILURES:
            structlog.get_logger().info("redis.back")
        self._failures = 0
        self._rests_until = 0.0

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures == _FAILURES:
            structlog.get_logger().warning("redis.away", reason=reason, hint="requests go on without it")
        if self._failures >= _FAILURES:
            self._rests_until = self._clock() + _REST_S
            for waiter in self._waiting:  # what the others ask will not be answered either
                _wake(waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
