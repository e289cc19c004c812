"""How events are written, and asked for."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.context import Context
from headrace.api.rest import events
from headrace.api.rest.app import build_app
from headrace.events.base import Event
from headrace.events.kinds import SUBJECTS


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test() as it:
        yield it


@pytest.fixture
def context(it: ServiceUnderTest) -> Context:
    return it.context()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(context), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def publish(it: ServiceUnderTest, count: int) -> None:
    for number in range(count):
        it.events.publish(Event(subject="limit.exceeded", fields={"n": number}, id=f"{number + 1}-0"))


async def told(client: httpx.AsyncClient, it: ServiceUnderTest, query: str = "", **headers: str) -> list[str]:
    """Return the blocks that a reader is sent, when the events end at once."""
    it.events.end()
    response = await client.get(
        f"/api/v1/events{query}", headers={name.replace("_", "-"): v for name, v in headers.items()}
    )
    assert response.status_code == 200
    assert response.headers["connection"] == "close"
    return response.text.split("\n\n")[1:-1]  # without the time to come back after


async def test_an_event_has_its_place_its_subject_and_json(client: httpx.AsyncClient, it: ServiceUnderTest):
    publish(it, 1)
    first, last = await told(client, it, "?after=0")
    place, subject, data = first.split("\n")
    assert (place, subject) == ("id: 1-0", "event: limit.exceeded")
    assert json.loads(data.removeprefix("data: "))["n"] == 0
    assert last.startswith('event: reader.dropped\ndata: {"time":')
    assert json.loads(last.partition("data: ")[2])["reason"] == "server.stopping"


def numbers(blocks: list[str]) -> list[int]:
    return [json.loads(block.partition("data: ")[2])["n"] for block in blocks if "limit.exceeded" in block]


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("", None, []),
        ("?after=1-0", None, [1, 2]),
        ("", "2-0", [2]),
        ("?after=0", "2-0", [2]),  # a browser that comes back sends both, and its address is the old one
        ("?after=1", "", [1, 2]),
        ("?after=0&subject=limit.exceeded,queue.full", None, [0, 1, 2]),
        ("?after=0&subject=queue.full", None, []),
    ],
)
async def test_a_reader_begins_where_it_says(
    client: httpx.AsyncClient, it: ServiceUnderTest, query: str, header: str | None, expected: list[int]
):
    publish(it, 3)
    headers = {} if header is None else {"last_event_id": header}
    assert numbers(await told(client, it, query, **headers)) == expected


async def test_what_is_not_kept_is_told_first(client: httpx.AsyncClient, it: ServiceUnderTest):
    publish(it, 102)
    first, *_ = await told(client, it, "?after=1-0")
    assert first.startswith("event: events.missed\n")


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("?after=x", {}, "after"),
        ("?after=", {}, "after"),
        ("?after=1%0Aid:2", {}, "after"),
        (f"?after={'9' * 5000}", {}, "after"),
        ("", {"last-event-id": "9" * 5000}, "after"),
        ("", {"last-event-id": "1-2\x7f"}, "after"),
        ("?subject=", {}, "subject"),
        ("?subject=limit.exceeded,", {}, "subject"),
        ("?subject=" + ",".join(["limit.exceeded"] * 500 + ["no.such"]), {}, "subject"),
        ("?subject=a&subject=b", {}, "query"),
        ("?since=1", {}, "query"),
    ],
)
async def test_what_cannot_be_asked_for_is_a_problem_that_names_it(
    client: httpx.AsyncClient, context: Context, query: str, headers: dict[str, str], field: str
):
    response = await client.get(f"/api/v1/events{query}", headers=headers)
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (422, "request.invalid", field)
    assert len(response.content) < 2000
    assert not context.readers._open


@pytest.mark.parametrize("sizes", [[10], [40_000, 40_000, 10], [70_000, 70_000], [1] * 3000])
def test_parts_are_bounded_and_end_at_the_end_of_an_event(sizes: list[int]):
    told = [Event(subject="a.b", fields={"x": "y" * size}) for size in sizes]
    parts = list(events._parts(told))
    assert b"".join(parts) == b"".join(events._frame(each) for each in told)
    longest = max(len(events._frame(each)) for each in told)
    assert all(len(part) <= max(events._MOST_BYTES, longest) and part.endswith(b"\n\n") for part in parts)


def test_silence_is_a_comment():
    assert list(events._parts(())) == [b":\n\n"]


async def test_the_document_lists_every_subject(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()["paths"]["/api/v1/events"]["get"]
    parameters = {each["name"]: each["schema"] for each in document["parameters"]}
    assert parameters["subject"]["items"]["enum"] == list(SUBJECTS)
    assert "text/event-stream" in document["responses"]["200"]["content"]
