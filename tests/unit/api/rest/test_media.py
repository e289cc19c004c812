"""What an answer is written as, by what the request accepts."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.doors import Door, open_door

JSON, FLOATS = "application/json", "application/octet-stream"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


async def content_type(door: Door, path: str, accept: str) -> tuple[int, str]:
    body = {"inputs": ["a"], "query": "q"} if path == "similarity" else {"inputs": ["a"]}
    response = await door.client.post(f"/api/v1/{path}", json=body, headers={"accept": accept})
    return response.status_code, response.headers["content-type"]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html", JSON),
        (FLOATS, FLOATS),
        ("Application/Octet-Stream; Q=0.5", FLOATS),
        (f"{FLOATS}, {JSON}", JSON),
        (f"{JSON}, {FLOATS}", JSON),
        (f"{FLOATS}, {JSON};q=0.5", FLOATS),
        (f"{FLOATS};q=0.5, */*", JSON),
        (f"{FLOATS}, */*;q=0.1", FLOATS),
        (f"*/*, {FLOATS};q=0", JSON),
        (f"application/*;q=0.2, {FLOATS};q=0.3", FLOATS),
        (f"{JSON};q=0, */*", FLOATS),
        (f"{FLOATS};q=nan", FLOATS),
        (f"{FLOATS};version=2;q=0.1, {JSON};q=0.2", JSON),
        (",;,", JSON),
    ],
)
async def test_the_answer_is_what_is_wanted_most(door: Door, accept: str, media: str):
    assert await content_type(door, "embed", accept) == (200, media)


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        (FLOATS, (406, "application/problem+json")),
        (f"{FLOATS}, text/html", (406, "application/problem+json")),
        (f"{FLOATS}, */*;q=0.1", (200, JSON)),
        ("text/html", (200, JSON)),
    ],
)
async def test_bare_numbers_are_never_promised_where_there_are_none(door: Door, accept: str, found: tuple[int, str]):
    assert await content_type(door, "similarity", accept) == found


async def test_nothing_is_computed_for_an_answer_that_is_not_wanted(door: Door):
    await content_type(door, "similarity", FLOATS)
    assert not door.it.backend.batches


async def test_the_numbers_are_those_of_the_json_and_the_headers_say_the_rest(door: Door):
    texts = ["a", "w " * 30, "b c"]
    answer = (await door.post("/api/v1/embed", inputs=texts)).json()
    response = await door.client.post("/api/v1/embed", json={"inputs": texts}, headers={"accept": FLOATS})
    rows, columns = map(int, response.headers["x-shape"].split(","))
    found = np.frombuffer(response.content, "<f4").reshape(rows, columns)
    expected = np.array([result["embedding"] for result in answer["results"]], np.float32)
    assert np.array_equal(found, expected)
    told = {name: response.headers[f"x-{name}"] for name in ("model", "revision", "tokens", "cached", "truncated")}
    assert told == {
        "model": answer["model"],
        "revision": answer["revision"],
        "tokens": str(answer["usage"]["tokens"]),
        "cached": "3",
        "truncated": "1",
    }


async def test_whole_texts_are_not_called_truncated(door: Door):
    response = await door.client.post("/api/v1/embed", json={"inputs": ["a"]}, headers={"accept": FLOATS})
    assert "x-truncated" not in response.headers
