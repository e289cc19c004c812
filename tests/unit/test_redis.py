import pytest

from headrace.errors import SettingInvalid
from headrace.redis import RedisAway, RedisLink


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
