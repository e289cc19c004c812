from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest import compression
from headrace.api.rest.app import build_app
from headrace.settings import Settings


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test() as it:
        yield it


@pytest.fixture
async def client(it: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(it) as client:
        yield client


def client_of(it: ServiceUnderTest, **cache: object) -> httpx.AsyncClient:
    context = it.context(settings=Settings.model_validate({"cache": cache}))
    transport = httpx.ASGITransport(build_app(context), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def test_one_text_is_answered_as_by_post(client: httpx.AsyncClient):
    kept = await client.get("/api/v1/embed", params={"text": "a b & ü", "model": "fake"})
    posted = (await client.post("/api/v1/embed", json={"inputs": ["a b & ü"]})).json()
    assert kept.json() == {
        "model": "fake",
        "revision": posted["revision"],
        "task": "embed",
        "result": posted["results"][0],
    }
    assert kept.headers["cache-control"] == "private, max-age=300"
    assert kept.headers["vary"] == "authorization, x-api-key, accept-encoding"


async def test_the_same_answer_has_the_same_tag_and_is_not_sent_again(client: httpx.AsyncClient):
    first = await client.get("/api/v1/embed?text=a")
    tag = first.headers["etag"]
    assert (await client.get("/api/v1/embed?text=a")).headers["etag"] == tag
    assert (await client.get("/api/v1/embed?text=b")).headers["etag"] != tag
    for shown in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get("/api/v1/embed?text=a", headers={"if-none-match": shown})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == first.headers["cache-control"]
    for shown in ('"other"', tag.strip('"'), "", tag + "x"):
        assert (await client.get("/api/v1/embed?text=a", headers={"if-none-match": shown})).status_code == 200


async def test_what_is_compressed_has_a_tag_of_its_own(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compression, "_LEAST_BYTES", 1)
    tags = {}
    for coding in ("identity", "gzip", "zstd"):
        reply = await client.get("/api/v1/embed?text=a", headers={"accept-encoding": coding})
        assert reply.headers.get("content-encoding", "identity") == coding
        assert reply.headers["vary"] == "authorization, x-api-key, accept-encoding"
        tags[coding] = reply.headers["etag"]
    assert tags["gzip"] == tags["identity"][:-1] + '-gzip"'
    assert tags["zstd"] == tags["identity"][:-1] + '-zstd"'
    for coding, tag in tags.items():
        asked = {"accept-encoding": coding, "if-none-match": tag}
        again = await client.get("/api/v1/embed?text=a", headers=asked)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["vary"] == "authorization, x-api-key, accept-encoding"
        assert "content-encoding" not in again.headers
        asked["if-none-match"] = ", ".join(other for other in tags.values() if other != tag)
        assert (await client.get("/api/v1/embed?text=a", headers=asked)).status_code == 200


async def test_a_cdn_may_keep_it_if_the_settings_say_so(it: ServiceUnderTest):
    async with client_of(it, shared=True, max_age_s=9) as client:
        assert (await client.get("/api/v1/embed?text=a")).headers["cache-control"] == "public, max-age=9"


async def test_an_empty_text_is_a_text(client: httpx.AsyncClient):
    assert (await client.get("/api/v1/embed?text=")).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 422, "text"),
        ("text=a&text=b", 422, "query"),
        ("text=a&top_k=1", 422, "query"),
        ("text=a&model=nobody", 404, "model"),
        ("text=" + "x" * 2049, 413, "text"),
    ],
)
async def test_what_cannot_be_asked_so_is_refused_and_not_kept(
    client: httpx.AsyncClient, query: str, status: int, field: str
):
    reply = await client.get(f"/api/v1/embed?{query}")
    assert (reply.status_code, reply.json()["field"]) == (status, field)
    assert not {"etag", "cache-control"} & reply.headers.keys()


async def test_a_model_that_does_something_else_is_told(client: httpx.AsyncClient):
    for task in ("classify", "extract", "fill", "regress"):
        reply = await client.get(f"/api/v1/{task}?text=a&model=fake")
        assert (reply.status_code, reply.json()["code"]) == (422, "task.unsupported")


async def test_tasks_that_need_more_than_a_text_are_asked_by_post(client: httpx.AsyncClient):
    reply = await client.get("/api/v1/rerank?text=a")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


async def test_it_needs_a_key_where_there_is_one(it: ServiceUnderTest):
    transport = httpx.ASGITransport(build_app(it.context(["a-key-of-sixteen-characters"])))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/api/v1/embed?text=a")).status_code == 401
