"""A Redis for each module that asks for one, a link to it that finds nothing there, and a way to it that can break."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import PATIENT_S, redis_server

from headrace.redis import RedisLink


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with redis_server() as server:
        yield server.port


@pytest.fixture
async def link(port: int) -> AsyncIterator[RedisLink]:
    link = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    await link.call(lambda redis: redis.flushall())
    yield link
    await link.aclose()


@pytest.fixture
async def way(port: int) -> AsyncIterator[Proxy]:
    async with proxy_to(port) as proxy:
        yield proxy
