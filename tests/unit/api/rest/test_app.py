"""The REST application without a server: what is guarded, what is documented, and what every answer looks like."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import structlog
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.types import Message
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.context import Context
from headrace.api.responses import EmbedResponse, Models, Problem, SimilarityResponse
from headrace.api.rest.app import build_app, build_routes
from headrace.api.rest.context import identify, open_to_all
from headrace.api.rest.refusals import STATUS
from headrace.auth.base import Credentials
from headrace.errors import error_classes
from headrace.observe.base import REQUEST_ID, ResponseSent
from headrace.observe.logs import add_request
from headrace.settings import Settings
from headrace.types import Caller
from headrace.types import Scope as CallerScope

V2 = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/stats",
    "/v2/repository/index",
    "/v2/repository/models/{name}/load",
    "/v2/repository/models/{name}/unload",
    *(
        f"/v2/models/{{name}}{version}{rest}"
        for version in ("", "/versions/{version}")
        for rest in ("", "/ready", "/infer", "/stats")
    ),
)
COHERE = ("/v1/embed", "/v2/embed")
TEI = ("/embed", "/embed_sparse", "/predict", "/similarity", "/info", "/rerank", "/v1/rerank", "/v2/rerank")


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


def dependencies(dependant: Dependant) -> Iterator[Any]:
    for child in dependant.dependencies:
        yield child.call
        yield from dependencies(child)


def unguarded(routes: list[Any]) -> list[str]:
    """Return the paths of routes that ask no guard."""
    api_routes = [route for route in routes if isinstance(route, APIRoute)]
    return [route.path for route in api_routes if identify not in set(dependencies(route.dependant))]


def all_routes(context: Context) -> list[Any]:
    return list(flatten(build_routes().router.routes))


def flatten(routes: list[Any]) -> Iterator[Any]:
    """Yield the routes, those of included routers too."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from flatten(included.routes)


async def test_every_route_asks_the_guard_but_the_probes_and_the_docs_page(context: Context):
    routes = all_routes(context)
    assert all(isinstance(route, APIRoute) for route in routes), routes
    assert set(unguarded(routes)) == {
        "/.well-known/jwks.json",
        "/api/v1/token",  # these two look themselves at what is shown to them
        "/api/v1/token/revoke",
        "/docs",
        "/docs/{name}",
        "/health",
        "/infinity/health",
        "/livez",
        "/readyz",
        "/v2/health/live",
        "/v2/health/ready",
    }
    marked = [route.path for route in routes if open_to_all in set(dependencies(route.dependant))]
    assert sorted(marked) == sorted(unguarded(routes))


async def test_a_route_without_a_guard_would_be_found(context: Context):
    app = build_routes()

    @app.get("/planted")
    async def planted() -> None: ...

    assert "/planted" in unguarded(list(flatten(app.router.routes)))


def test_every_error_has_a_status():
    assert set(STATUS) == set(error_classes())


async def test_an_answer_has_the_documented_shape(client: httpx.AsyncClient):
    response = await client.post("/api/v1/embed", json={"inputs": ["a", "b c"]})
    answer = EmbedResponse.model_validate_json(response.content, strict=True)
    assert [len(result.embedding) for result in answer.results] == [8, 8]
    assert [(result.tokens, result.truncated, result.windows) for result in answer.results] == [
        (3, False, 1),
        (4, False, 1),
    ]
    assert answer.usage.tokens == 7
    assert answer.timings_ms.total > 0


async def test_similarities_have_the_documented_shape(client: httpx.AsyncClient):
    response = await client.post("/api/v1/similarity", json={"query": "b", "inputs": ["a", "b"]})
    answer = SimilarityResponse.model_validate_json(response.content, strict=True)
    assert answer.results[0].score < answer.results[1].score == pytest.approx(1)
    assert (answer.usage.tokens, [result.tokens for result in answer.results]) == (9, [3, 3])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": ["a"]}, "query"),
        ({"query": None, "inputs": ["a"]}, "query"),
        ({"query": ["a"], "inputs": ["a"]}, "query"),
        ({"query": "a", "inputs": []}, "inputs"),
        ({"query": "a", "inputs": ["a"], "options": {"normalize": True}}, "options.normalize"),
    ],
)
async def test_a_comparison_that_cannot_be_made_is_refused(client: httpx.AsyncClient, body: object, field: str):
    response = await client.post("/api/v1/similarity", json=body)
    assert (response.status_code, response.json()["field"]) == (422, field)


async def test_models_have_the_documented_shape(client: httpx.AsyncClient):
    assert [
        model.name for model in Models.model_validate_json((await client.get("/api/v1/models")).content).models
    ] == ["fake"]


async def test_a_problem_has_the_documented_shape(client: httpx.AsyncClient):
    response = await client.post("/api/v1/embed", json={"inputs": [1]})
    problem = TypeAdapter(Problem).validate_json(response.content, strict=True)
    assert (problem.status, problem.field, problem.retryable) == (422, "inputs[0]", False)


async def test_options_reach_the_service(client: httpx.AsyncClient):
    options = {"normalize": False, "truncate": "truncate"}
    response = await client.post("/api/v1/embed", json={"inputs": ["w " * 30], "options": options, "model": "fake"})
    result = response.json()["results"][0]
    assert result["truncated"] is True
    assert sum(value * value for value in result["embedding"]) != pytest.approx(1, abs=1e-3)


async def test_a_chunked_text_is_answered_whole_and_says_in_how_many_windows(client: httpx.AsyncClient):
    body = {"inputs": ["w " * 30, "w"], "options": {"truncate": "chunk"}}
    results = (await client.post("/api/v1/embed", json=body)).json()["results"]
    assert [(result["tokens"], result["truncated"], result["windows"]) for result in results] == [
        (38, False, 3),
        (3, False, 1),
    ]
    assert sum(value * value for value in results[0]["embedding"]) == pytest.approx(1, abs=1e-6)


async def test_the_document_describes_every_route_and_resolves(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/.well-known/jwks.json",
        "/api/v1/token",
        "/api/v1/token/revoke",
        "/api/v1/users",
        "/api/v1/users/{name}",
        "/api/v1/users/{name}/password",
        "/api/v1/classify",
        "/api/v1/embed",
        "/api/v1/extract",
        "/api/v1/fill",
        "/api/v1/models",
        "/api/v1/regress",
        "/api/v1/rerank",
        "/api/v1/stream",
        "/api/v1/similarity",
        "/api/v1/answer",
        "/api/v1/zeroshot",
        "/api/v1/models/{name}",
        "/api/v1/models/{name}/roles",
        "/api/v1/models/{name}/promote",
        "/api/v1/models/{name}/rollback",
        "/api/v1/models/{name}/candidate",
        "/api/v1/keys",
        "/api/v1/keys/{key_id}",
        "/api/v1/keys/{key_id}/rotate",
        "/api/v1/changes",
        "/api/v1/events",
        "/livez",
        "/readyz",
        "/metrics",
        "/health",
        "/v1/embeddings",
        "/v1/moderations",
        "/v1/models",
        "/v1/models/{name}",
        *V2,
        *(f"/infinity/{path}" for path in ("embeddings", "rerank", "classify", "models", "health")),
        *TEI,
        *COHERE,
        *(f"/models/{{name}}{path}" for path in ("", *TEI, *COHERE)),
    }
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


async def test_the_docs_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient):
    page = await client.get("/docs")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assets = {part.split('"')[0] for part in page.text.split('="docs/')[1:]}
    assert len(assets) == 4
    for asset in assets:
        response = await client.get(f"/docs/{asset}")
        assert response.status_code == 200
        assert len(response.content) > 50


async def test_not_ready_while_draining(client: httpx.AsyncClient, context: Context):
    assert (await client.get("/readyz")).status_code == 200
    context.is_draining = True
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "service.unready")
    assert response.headers["connection"] == "close"
    assert (await client.get("/livez")).status_code == 200


async def test_metrics_are_shown(client: httpx.AsyncClient):
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"headrace_build_info" in response.content


TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        ("application/openmetrics-text;q=0.1,text/plain", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=\xff.x;escaping=dots\x0b", OPENMETRICS),
        ("," * 5000, TEXT),
    ],
)
async def test_metrics_are_in_the_format_that_is_preferred(client: httpx.AsyncClient, accept: str, media: str):
    response = await client.get("/metrics", headers={b"accept": accept.encode("latin-1")})
    assert (response.status_code, response.headers["content-type"]) == (200, media)
    assert response.content.endswith(b"# EOF\n") == (media == OPENMETRICS)


async def test_what_nobody_foresaw_is_a_500_without_details(
    client: httpx.AsyncClient, context: Context, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(type(context.service), "list_models", fail)
    response = await client.get("/api/v1/models")
    assert response.status_code == 500
    assert response.json()["code"] == "internal.error"
    assert "secret" not in response.text


async def test_each_response_is_a_fact(client: httpx.AsyncClient, it: ServiceUnderTest):
    await client.get("/api/v1/models/fake", headers={"x-request-id": "abc"})
    await client.get("/nowhere")
    facts = it.recorder.of(ResponseSent)
    assert [(fact.route, fact.status) for fact in facts] == [("/api/v1/models/{name}", 200), ("", 404)]
    assert (facts[0].request_id, facts[0].caller, facts[0].method) == ("abc", "local", "GET")


async def test_a_peer_that_is_not_this_machine_is_refused(context: Context):
    transport = httpx.ASGITransport(build_app(context), client=("10.0.0.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.get("/api/v1/models")
    assert (response.status_code, response.json()["code"]) == (401, "caller.unknown")


async def test_what_is_not_http_is_left_alone(context: Context):
    async def nothing(*_: object) -> Any:
        raise AssertionError("must not be called")

    await build_app(context)({"type": "websocket"}, nothing, nothing)


@pytest.mark.parametrize(
    ("server_s", "code", "status"), [(30.0, "timeout.elapsed", 408), (0.02, "deadline.exceeded", 504)]
)
async def test_a_timeout_is_told_by_whose_it_was(
    client: httpx.AsyncClient, context: Context, it: ServiceUnderTest, server_s: float, code: str, status: int
):
    context.settings = Settings.model_validate({"server": {"request_timeout_s": server_s}})
    it.backend.gate.clear()
    reply = await client.post("/api/v1/embed", json={"inputs": ["a"]}, headers={"x-request-timeout": "0.05"})
    it.backend.gate.set()
    assert (reply.status_code, reply.json()["code"], reply.json()["retryable"]) == (status, code, True)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_a_fact(context: Context, it: ServiceUnderTest):
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(_message: Message) -> None: ...

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/embed",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }
    await build_app(context)(scope, receive, send)
    assert [(fact.route, fact.status) for fact in it.recorder.of(ResponseSent)] == [("/api/v1/embed", 499)]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/models", "GET"),
        ("/api/v1/keys", "GET, POST"),
        ("/api/v1/keys/some", "DELETE, GET"),
        ("/api/v1/models/fake/candidate", "DELETE, PUT"),
        ("/livez", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_a_problem_that_says_what_it_takes(
    client: httpx.AsyncClient, path: str, allowed: str
):
    response = await client.patch(path)
    assert (response.status_code, response.json()["code"]) == (405, "method.unsupported")
    assert response.headers["allow"] == allowed


async def test_the_document_says_what_needs_no_key(client: httpx.AsyncClient):
    paths = (await client.get("/openapi.json")).json()["paths"]
    opened = {path for path, operations in paths.items() if operations.get("get", {}).get("security") == []}
    assert opened == {
        "/.well-known/jwks.json",
        "/livez",
        "/readyz",
        "/health",
        "/infinity/health",
        "/v2/health/live",
        "/v2/health/ready",
    }


async def test_what_nobody_foresaw_is_in_the_log_with_the_request_it_happened_to(
    client: httpx.AsyncClient, context: Context, monkeypatch: pytest.MonkeyPatch
):
    failure = ZeroDivisionError("secret")
    monkeypatch.setattr(type(context.service), "list_models", Mock(side_effect=failure))
    with structlog.testing.capture_logs(processors=[add_request]) as lines:
        await client.get("/api/v1/models", headers={"x-request-id": "abc"})
    assert lines == [{"event": "request.failed", "log_level": "error", "exc_info": failure, "request_id": "abc"}]
    assert REQUEST_ID.get() is None


async def test_metrics_need_their_scope(client: httpx.AsyncClient, context: Context):
    class Narrow:
        is_local = False

        def identify(self, credentials: Credentials) -> Caller:
            return Caller("narrow", frozenset({CallerScope.INFER}))

    context.guard = Narrow()
    for path in ("/metrics", "/api/v1/models"):
        response = await client.get(path)
        assert (response.status_code, response.json()["code"]) == (403, "access.denied")


async def test_what_a_caller_may_still_send_is_in_the_headers():
    async with service_under_test(rules="0.5 requests/s burst=2") as it:
        transport = httpx.ASGITransport(build_app(it.context()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            replies = [await client.post(path, json={"inputs": ["a"]}) for path in ("/api/v1/embed",) * 2 + ("/embed",)]
            other = await client.get("/api/v1/models")
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {'"requests";q=2;w=4'}
    assert [reply.headers["ratelimit"] for reply in replies] == [
        '"requests";r=1;t=2',
        '"requests";r=0;t=4',
        '"requests";r=0;t=4',
    ]
    assert replies[-1].headers["retry-after"] == "2"
    assert "ratelimit" not in other.headers


async def test_without_a_rate_no_header_says_one(client: httpx.AsyncClient):
    assert "ratelimit" not in (await client.post("/api/v1/embed", json={"inputs": ["a"]})).headers
