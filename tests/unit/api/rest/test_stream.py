"""Many requests in one body."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.context import Context
from headrace.api.rest.app import build_app
from headrace.observe.base import ResponseSent
from headrace.settings import ServerSettings, Settings

LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test() as it:
        yield it


@pytest.fixture
def context(it: ServiceUnderTest) -> Context:
    return it.context(settings=Settings(server=ServerSettings(max_body_bytes=1024)))


@pytest.fixture
async def client(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


async def ask(client: httpx.AsyncClient, *parts: bytes, **headers: str) -> list[dict[str, Any]]:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    response = await client.post("/api/v1/stream", content=body(), headers={**LINES, **headers})
    assert response.status_code == 200, response.text
    return [json.loads(each) for each in response.text.splitlines()]


async def test_each_line_is_answered_as_its_own_route_does(client: httpx.AsyncClient):
    texts = {str(index): f"text {index}" for index in range(40)}
    found = await ask(client, *(line(id=name, task="embed", inputs=[text]) for name, text in texts.items()))
    assert {each["id"] for each in found} == set(texts)
    for each in found:
        alone = (await client.post("/api/v1/embed", json={"inputs": [texts[each["id"]]]})).json()
        assert each["answer"]["results"] == alone["results"]
        assert set(each["answer"]) == set(alone)


async def test_a_line_that_fails_ends_no_other(client: httpx.AsyncClient):
    found = await ask(
        client,
        line(id="good", task="embed", inputs=["a"]),
        b"no json\n",
        b"[]\n",
        line(id="none", task="dream", inputs=["a"]),
        line(id="empty", task="embed", inputs=[]),
        line(id="more", task="embed", inputs=["a"], colour="red"),
        line(id="other", task="classify", inputs=["a"]),
        line(id=7, task="embed", inputs=["a"]),
        line(id="query", task="similarity", query="a", inputs=["a"]),
    )
    told = {each["id"]: each["error"]["code"] for each in found if "error" in each}
    assert {each["id"] for each in found if "answer" in each} == {"good", "query"}
    assert {name: told[name] for name in ("none", "empty", "more", "other")} == {
        "none": "request.invalid",
        "empty": "request.invalid",
        "more": "request.invalid",
        "other": "task.unsupported",
    }
    assert [each["error"]["code"] for each in found if each["id"] == ""] == [
        "request.malformed",
        "request.invalid",
        "request.invalid",
    ]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_lines_may_come_in_any_parts(client: httpx.AsyncClient, size: int):
    whole = b"\n\r\n" + b"".join(line(id=str(index), task="embed", inputs=["é"]) for index in range(5))
    parts = [whole.rstrip()[at : at + size] for at in range(0, len(whole), size)]
    assert {each["id"] for each in await ask(client, *parts)} == set("01234")


async def test_an_empty_body_has_an_empty_answer(client: httpx.AsyncClient):
    assert await ask(client) == []


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_over_the_limit_is_the_last(client: httpx.AsyncClient, end: bytes):
    good = line(id="1", task="embed", inputs=["a"])
    found = await ask(client, good, b"x" * 2000 + end, good)
    assert [each.get("error", {}).get("code") for each in found] == [None, "request.too_large"]


async def test_events_may_be_wanted_instead(client: httpx.AsyncClient):
    response = await client.post(
        "/api/v1/stream",
        content=line(id="1", task="embed", inputs=["a"]),
        headers={**LINES, "accept": "text/event-stream"},
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    [event] = response.text.strip().split("\n\n")
    assert json.loads(event.removeprefix("data: "))["id"] == "1"


@pytest.mark.parametrize(
    "headers", [{"content-type": "application/json"}, {**LINES, "content-encoding": "gzip"}, {"content-type": ""}]
)
async def test_another_type_is_refused(client: httpx.AsyncClient, headers: dict[str, str]):
    response = await client.post("/api/v1/stream", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "request.unsupported")


async def test_a_stop_is_told(client: httpx.AsyncClient, context: Context):
    async def body() -> AsyncIterator[bytes]:
        yield line(id="1", task="embed", inputs=["a"])
        context.is_draining = True
        yield line(id="2", task="embed", inputs=["a"])

    response = await client.post("/api/v1/stream", content=body(), headers=LINES)
    *_, last = (json.loads(each) for each in response.text.splitlines())
    assert last["error"]["code"] == "service.stopping"


async def test_a_key_that_ended_ends_the_stream(it: ServiceUnderTest):
    key = "a-key-of-24-characters-1"
    context = it.context([key])
    transport = httpx.ASGITransport(build_app(context))

    async def body() -> AsyncIterator[bytes]:
        yield line(id="1", task="embed", inputs=["a"])
        context.guard.learn_fixed(["another-key-of-24-characters"])  # type: ignore[attr-defined]
        yield line(id="2", task="embed", inputs=["a"])

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post("/api/v1/stream", content=body(), headers={**LINES, "x-api-key": key})
        *_, last = (json.loads(each) for each in response.text.splitlines())
        assert (last["id"], last["error"]["code"]) == ("", "caller.unknown")
        assert (await client.post("/api/v1/stream", content=b"", headers=LINES)).status_code == 401


async def test_a_client_that_leaves_in_the_middle_is_no_failure(
    context: Context, it: ServiceUnderTest, capsys: pytest.CaptureFixture[str]
):
    parts = [line(id="1", task="embed", inputs=["a"])]

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": True}
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None: ...

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/stream",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-ndjson")],
    }
    await build_app(context)(scope, receive, send)
    assert "request.failed" not in capsys.readouterr().out
    assert [fact.route for fact in it.recorder.of(ResponseSent)] == ["/api/v1/stream"]
