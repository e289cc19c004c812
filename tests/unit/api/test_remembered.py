"""Every dialect says whether its answer was remembered, and computes it anew for who asks for that."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from tests.support.calls import open_calls
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.api.remembered import may_recall
from headrace.api.rest.app import build_app

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
DIALECTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "native": ("/api/v1/embed", {"inputs": ["a"]}),
    "OpenAI": ("/v1/embeddings", {"model": "fake", "input": "a"}),
    "Hugging Face": ("/models/fake", {"inputs": "a"}),
    "Infinity": ("/infinity/embeddings", {"model": "fake", "input": ["a"]}),
    "Open Inference Protocol": ("/v2/models/fake/infer", {"inputs": [TENSOR]}),
    "TEI": ("/embed", {"inputs": "a"}),
}


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    async with service_under_test() as it:
        yield it


@pytest.fixture
async def client(it: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(it.context()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_says_whether_it_was_remembered(it: ServiceUnderTest, client: httpx.AsyncClient, dialect: str):
    path, body = DIALECTS[dialect]
    told = []
    for asked in ({}, {}, {"cache-control": "no-cache"}, {"cache-control": "no-store"}):
        reply = await client.post(path, json=body, headers=asked)
        assert reply.status_code == 200
        told.append(reply.headers["x-cache"])
    assert (told, it.computed) == (["MISS", "HIT", "MISS", "HIT"], 2)


async def test_so_does_one_that_others_may_keep_and_no_error_does(client: httpx.AsyncClient):
    replies = [await client.get("/api/v1/embed?text=a") for _ in range(2)]
    replies.append(await client.get("/api/v1/embed?text=a", headers={"cache-control": "no-cache"}))
    assert [reply.headers["x-cache"] for reply in replies] == ["MISS", "HIT", "MISS"]
    assert len({reply.headers["etag"] for reply in replies}) == 1
    for path in ("/api/v1/embed?text=a&model=other", "/api/v1/models"):
        assert "x-cache" not in (await client.get(path)).headers


async def test_over_grpc_the_metadata_say_so(it: ServiceUnderTest):
    told = []
    async with open_calls(it=it) as calls:
        call = calls.channel.unary_unary("/headrace.v1.Inference/Embed")
        for metadata in ([], [], [("cache-control", "no-cache")]):
            asked = call(pb.EmbedRequest(inputs=["a"]).SerializeToString(), metadata=metadata, timeout=20)
            await asked
            told.append(dict(await asked.trailing_metadata())["x-cache"])
    assert (told, it.computed) == (["MISS", "HIT", "MISS"], 2)


@pytest.mark.parametrize("values", [["no-cache"], ["No-Cache"], ["max-age=0, no-cache"], ["no-store", " no-cache ,"]])
def test_who_wants_no_remembered_answer_is_heard(values: list[str]):
    assert not may_recall(values)


@pytest.mark.parametrize("values", [[], [""], ["no-store"], ["no-cachet"], ['x="no-cache"'], [",,;,"], ["max-age=0"]])
def test_all_others_may_get_one(values: list[str]):
    assert may_recall(values)
