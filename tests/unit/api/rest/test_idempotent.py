"""Changes that are done once, however often they are asked for."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest.app import build_app
from headrace.api.rest.idempotent import read_key
from headrace.errors import RequestInvalid

BOSS, OTHER = "the-key-of-the-settings", "another-key-of-the-settings"
JOB = {"name": "job", "scopes": ["infer"]}


@dataclass
class Api:
    """The server, and ways to ask it."""

    it: ServiceUnderTest
    client: httpx.AsyncClient

    async def post(self, path: str, key: str | None, body: Any = None, caller: str = BOSS) -> httpx.Response:
        headers = {"authorization": f"Bearer {caller}"} | ({} if key is None else {"idempotency-key": key})
        return await self.client.post(f"/api/v1/{path}", headers=headers, json=body)

    async def keys(self) -> list[dict[str, Any]]:
        reply = await self.client.get("/api/v1/keys", headers={"authorization": f"Bearer {BOSS}"})
        return reply.json()["keys"]  # type: ignore[no-any-return]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context([BOSS, OTHER])), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Api(it, client)


async def test_a_key_is_made_once_and_shown_once(api: Api):
    first, again = [await api.post("keys", "order-1", JOB) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == {**first.json(), "key": None}
    assert first.json()["key"].startswith("hr_")
    for name in ("location", "cache-control", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(await api.keys()) == 1


async def test_the_secret_is_kept_nowhere(api: Api):
    made = (await api.post("keys", "order-1", JOB)).json()
    (kept,) = api.it.records.requests.values()
    secret = made["key"].rpartition("_")[2]
    assert secret not in repr(kept)
    assert b"order-1" not in kept.key
    assert json.loads(kept.answer or b"")["content"] == {**made, "key": None}


async def test_who_lost_a_new_key_rotates_it(api: Api):
    await api.post("keys", "order-1", JOB)
    lost = (await api.post("keys", "order-1", JOB)).json()["id"]
    turned = await api.post(f"keys/{lost}/rotate", "order-2", {})
    assert turned.json()["key"]
    again = await api.post(f"keys/{lost}/rotate", "order-2", {"grace_s": 0})  # which is what {} means
    assert again.json() == {**turned.json(), "key": None}
    assert len(await api.keys()) == 2


async def test_without_a_key_it_is_done_each_time(api: Api):
    for _ in range(2):
        await api.post("keys", None, JOB)
    assert len(await api.keys()) == 2
    assert api.it.records.requests == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys", {**JOB, "name": "other"}),
        ("keys", {**JOB, "lasts_s": 60}),
        ("keys/nope/rotate", {}),
        ("models/fake/promote", {"revision": "x"}),
        ("models/fake/rollback", None),
    ],
)
async def test_a_key_is_for_one_request(api: Api, path: str, body: Any):
    await api.post("keys", "k", JOB)
    reply = await api.post(path, "k", body)
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency.reused")
    assert reply.json()["field"] == "idempotency-key"
    assert len(await api.keys()) == 1


async def test_the_same_request_may_be_spelled_otherwise(api: Api):
    first = await api.post("keys", "k", JOB)
    again = await api.post("keys", '"k"', {"scopes": ["infer"], "name": "job", "lasts_s": None})
    assert again.json()["id"] == first.json()["id"]


async def test_another_caller_has_other_keys(api: Api):
    ours, theirs = [(await api.post("keys", "k", JOB, caller)).json() for caller in (BOSS, OTHER)]
    assert ours["id"] != theirs["id"]
    assert theirs["key"]


async def test_while_it_runs_it_is_not_done_again(api: Api):
    replies = await asyncio.gather(*(api.post("keys", "k", JOB) for _ in range(20)))
    assert len(await api.keys()) == 1
    busy = [reply for reply in replies if reply.status_code == 409]
    assert {reply.status_code for reply in replies} <= {201, 409}
    for reply in busy:
        assert (reply.json()["code"], reply.headers["retry-after"]) == ("idempotency.running", "1")


async def test_what_was_refused_is_asked_anew(api: Api):
    assert (await api.post("keys", "k", {**JOB, "models": ["../x"]})).status_code == 422
    assert (await api.post("models/fake/promote", "k", {"revision": "none"})).status_code == 404
    assert (await api.post("keys", "k", JOB)).json()["key"]


async def test_who_may_not_keeps_nothing(api: Api):
    poor = (await api.post("keys", None, JOB)).json()["key"]
    for path, body in [("keys", JOB), ("models/fake/rollback", None)]:
        reply = await api.post(path, "k", body, poor)
        assert (reply.status_code, reply.json()["code"]) == (403, "access.denied")
    assert api.it.records.requests == {}


async def test_without_records_nothing_is_done(api: Api):
    api.it.records.is_gone = True
    assert (await api.post("models/fake/rollback", "k")).status_code == 503


@pytest.mark.parametrize(
    "shown",
    [
        "",
        " ",
        '""',
        '"a',
        'a"',
        '"a"b"',
        '"a\\b"',
        '"a\\"',
        "a b",
        "a,b",
        '"a", "b"',
        '"a";q=1',
        "a;b",
        "k\t",
        "\xfc",
        '"\xfc"',
        "\x00",
        "\r\nx: y",
        "x" * 256,
        '"' + "x" * 256 + '"',
        '"' + '\\"' * 256 + '"',
        "x" * (1 << 20),
        '"' + "\\\\" * (1 << 19) + '"',
    ],
)
async def test_what_is_no_key_is_refused_and_not_repeated(api: Api, shown: str):
    if shown == "k\t":
        shown = "k\tk"
    with pytest.raises(RequestInvalid) as caught:
        read_key([shown])
    assert (caught.value.field, len(caught.value.message) < 200) == ("idempotency-key", True)
    if "\n" not in shown:
        reply = await api.client.post(
            "/api/v1/keys",
            json=JOB,
            headers=[(b"authorization", f"Bearer {BOSS}".encode()), (b"idempotency-key", shown.encode("latin-1"))],
        )
        assert (reply.status_code, reply.json()["field"]) == (422, "idempotency-key")
    assert await api.keys() == []


@pytest.mark.parametrize(
    ("shown", "key"),
    [
        ("a", "a"),
        ('"a"', "a"),
        (" a ", "a"),
        ('" a "', " a "),
        ('"a\\"b\\\\"', 'a"b\\'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324",) * 2,
        ("x" * 255,) * 2,
        ("'a=b:c/d+e'",) * 2,
        ("a\\b",) * 2,
    ],
)
def test_a_key_is_read_with_quotes_and_without(shown: str, key: str):
    assert read_key([shown]) == key


def test_two_keys_are_none():
    assert read_key([]) is None
    for shown in (["a", "a"], ["a", ""], ['"a"', '"b"']):
        with pytest.raises(RequestInvalid):
            read_key(shown)
