"""Answers compressed for clients that read it: which, with what, and what their headers say."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest import compression
from headrace.api.rest.app import build_app
from headrace.codings import Coding, decompress
from headrace.settings import Settings

MANY = {"inputs": ["a", "b", "c", "d", "e", "f", "g", "h"]}


class Client:
    """Asks, and gives answers as they came."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(
        self, method: str, path: str, accepted: str | None, *, accept: str = "*/*", **options: Any
    ) -> tuple[httpx.Headers, bytes]:
        headers = [("accept", accept)] + ([] if accepted is None else [("accept-encoding", accepted)])
        request = self._client.build_request(method, path, **options)
        del request.headers["accept"], request.headers["accept-encoding"]
        request.headers = httpx.Headers([*request.headers.multi_items(), *headers])
        response = await self._client.send(request, stream=True)
        data = b"".join([part async for part in response.aiter_raw()])
        assert method == "HEAD" or int(response.headers.get("content-length", len(data))) == len(data)
        return response.headers, data

    async def coding(self, accepted: str | None, body: Any = None) -> str | None:
        headers, _ = await self.ask("POST", "/api/v1/embed", accepted, json=body or MANY)
        found: str | None = headers.get("content-encoding")
        return found


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test() as it:
        yield it


@pytest.fixture
async def client(it: ServiceUnderTest) -> AsyncIterator[Client]:
    async with client_of(it) as asking:
        yield Client(asking)


def client_of(it: ServiceUnderTest, **server: object) -> httpx.AsyncClient:
    context = it.context(settings=Settings.model_validate({"server": server}))
    transport = httpx.ASGITransport(build_app(context), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("GZIP", "gzip"),
        ("gzip, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("br", None),
        ("gzip;q=1, zstd;q=0.9", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("*", "zstd"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0.5, gzip;q=0.2", "zstd"),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip;q=x", "gzip"),
        (",;,", None),
        ("gzip2, x-zstd", None),
        (",a" * 10_000, None),
        ("x" * 100_000, None),
    ],
)
async def test_the_coding_is_the_one_that_is_wanted_most(
    client: Client, accepted: str | None, coding: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compression, "_LEAST_BYTES", 1)
    assert await client.coding(accepted) == coding


async def test_it_pays_from_a_size_on(client: Client, monkeypatch: pytest.MonkeyPatch):
    headers, plain = await client.ask("POST", "/api/v1/embed", None, json=MANY)
    size = len(plain)
    for least, coding in ((size - 20, "zstd"), (size + 20, None)):  # of its timings, digits come and go
        monkeypatch.setattr(compression, "_LEAST_BYTES", least)
        headers, _ = await client.ask("POST", "/api/v1/embed", "zstd", json=MANY)
        assert headers.get("content-encoding") == coding
        assert headers.get("vary") == ("accept-encoding" if coding else None)


async def test_who_refuses_what_is_not_compressed_gets_it_compressed_however_small(client: Client):
    headers, data = await client.ask("GET", "/livez", "gzip, identity;q=0")
    assert json.loads(decompress(data, "gzip", 99)) == {"status": "live"}
    assert headers["vary"] == "accept-encoding"
    floats = "application/octet-stream"
    headers, data = await client.ask("POST", "/api/v1/embed", "zstd, identity;q=0", accept=floats, json=MANY)
    assert (headers["content-encoding"], headers["content-type"]) == ("zstd", floats)
    assert np.frombuffer(decompress(data, "zstd", 1 << 20), "<f4").size == 64


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/embed", MANY),
        ("/v1/embeddings", {"model": "fake", "input": MANY["inputs"]}),
        ("/embed", MANY),
        ("/v1/embed", {"model": "fake", "texts": MANY["inputs"], "input_type": "search_query"}),
        ("/v2/models/fake/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}),
        ("/api/v1/rerank", {"inputs": []}),
        ("/v1/rerank", {"x": "y" * 100}),
        ("/none", {}),
    ],
)
async def test_every_dialect_and_every_error_is_compressed(
    client: Client, path: str, body: Any, coding: Coding, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compression, "_LEAST_BYTES", 1)
    headers, data = await client.ask("POST", path, coding, json=body)
    assert headers["content-encoding"] == coding
    assert headers["vary"] == "accept-encoding"
    assert isinstance(json.loads(decompress(data, coding, 1 << 20)), dict | list)
    assert "x-request-id" in headers


async def test_numbers_as_bytes_are_left_as_they_are(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compression, "_LEAST_BYTES", 1)
    headers, data = await client.ask("POST", "/api/v1/embed", "zstd", accept="application/octet-stream", json=MANY)
    assert np.frombuffer(data, "<f4").size == 64
    assert not {"content-encoding", "vary"} & headers.keys()


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_stream_is_left_as_it_is(client: Client, accept: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compression, "_LEAST_BYTES", 1)
    lines = {
        "content": b'{"task": "embed", "inputs": ["a"]}\n' * 9,
        "headers": {"content-type": "application/x-ndjson"},
    }
    headers, data = await client.ask("POST", "/api/v1/stream", "zstd, identity;q=0", accept=accept, **lines)
    assert data.count(b'"answer"') == 9
    assert "content-encoding" not in headers


async def test_metrics_are_compressed_and_pictures_are_not(client: Client):
    headers, data = await client.ask("GET", "/metrics", "gzip")
    assert headers["content-encoding"] == "gzip"
    assert decompress(data, "gzip", 1 << 20).startswith(b"# HELP")
    headers, data = await client.ask("GET", "/docs/swagger-ui-bundle.js", "gzip")
    assert "content-encoding" not in headers


async def test_nothing_is_compressed_where_a_proxy_does_it(it: ServiceUnderTest):
    async with client_of(it, compress=False) as asking:
        client = Client(asking)
        for accepted in ("zstd", "gzip, identity;q=0"):
            headers, data = await client.ask("GET", "/openapi.json", accepted)
            assert json.loads(data)["openapi"]
            assert not {"content-encoding", "vary"} & headers.keys()


async def test_head_tells_what_get_would(client: Client):
    for accepted in (None, "gzip, identity;q=0"):
        got, _ = await client.ask("GET", "/livez", accepted)
        told, nothing = await client.ask("HEAD", "/livez", accepted)
        for name in ("content-length", "content-encoding", "vary"):
            assert told.get(name) == got.get(name)
        assert nothing == b""


async def test_a_large_answer_is_compressed_in_a_thread(client: Client, monkeypatch: pytest.MonkeyPatch):
    threads: list[Callable[..., object]] = []

    async def to_thread(work: Callable[..., Any], *given: Any) -> Any:
        threads.append(work)
        return work(*given)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    await client.coding("zstd")
    assert threads == []
    _, plain = await client.ask("GET", "/openapi.json", None)
    assert len(plain) > 1 << 16
    _, data = await client.ask("GET", "/openapi.json", "zstd")
    assert len(threads) == 1
    assert decompress(data, "zstd", 1 << 24) == plain
