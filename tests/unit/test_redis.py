import asyncio

import pytest
from tests.support.redis_server import PATIENT_S

from headrace.errors import SettingInvalid
from headrace.redis import _FAILURES, RedisAway, RedisLink


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://h:port"])
async def test_a_url_of_something_else_is_refused_without_being_shown(url: str):
    with pytest.raises(SettingInvalid, match="redis://HOST:PORT") as caught:
        RedisLink(url)
    assert caught.value.field == "redis.url"


async def test_a_server_that_is_not_there_is_away():
    link = RedisLink("redis://127.0.0.1:1", 10.0)
    with pytest.raises(RedisAway):
        await link.call(lambda redis: redis.ping())
    await link.aclose()


async def test_when_it_turns_out_to_be_away_nobody_waits_for_it_any_more():
    link, answer = RedisLink("redis://127.0.0.1:1", 3600.0), asyncio.Event()
    hanging = [asyncio.create_task(link.call(lambda _: answer.wait())) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(_FAILURES):
        with pytest.raises(RedisAway):
            await link.call(lambda redis: redis.ping())
    async with asyncio.timeout(PATIENT_S):
        assert [type(each) for each in await asyncio.gather(*hanging, return_exceptions=True)] == [RedisAway] * 3
    answer.set()
    await link.aclose()
