import asyncio
from operator import attrgetter

from structlog.testing import capture_logs

from headrace.errors import HeadraceError, RecordsUnusable, StoreUnusable
from headrace.following import Following

LIMIT_S = 10


async def test_what_goes_wrong_is_told_once_until_it_is_mended_or_is_something_else():
    away, full = RecordsUnusable("away"), StoreUnusable("full")
    outcomes: list[HeadraceError | None] = [away, RecordsUnusable("gone"), full, full, None, full, away]
    is_over = asyncio.Event()

    async def look() -> None:
        if not outcomes:
            is_over.set()
            return
        if (error := outcomes.pop(0)) is not None:
            raise error

    following = Following(look, "things.unread", attrgetter("code"))
    with capture_logs() as lines:
        following.start(0.001)
        async with asyncio.timeout(LIMIT_S):
            await is_over.wait()
        await following.aclose()
    assert [line["event"] for line in lines] == ["things.unread"] * 4
    assert [line["reason"] for line in lines] == ["away", "full", "full", "away"]


async def test_what_was_never_begun_is_stopped_too():
    async def look() -> None:
        raise AssertionError("nobody asked for it")

    await Following(look, "things.unread", attrgetter("code")).aclose()
