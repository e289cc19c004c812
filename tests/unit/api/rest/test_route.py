"""What a route does before it calls its function, and what it hands to it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match

from headrace.api.rest.route import DirectRoute, FixedRoutes
from headrace.errors import CallerUnknown

calls: list[str] = []


async def first(_request: Request) -> None:
    calls.append("first")


async def second(request: Request) -> None:
    calls.append("second")
    if "key" not in request.headers:
        raise CallerUnknown("no key")


router = APIRouter(prefix="/v1", dependencies=[Depends(first), Depends(second)], route_class=DirectRoute)


@router.get("/things/{name}")
async def show(request: Request, name: str) -> Response:
    calls.append("show")
    return PlainTextResponse(f"{request.method} {name}")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    calls.clear()
    app = FastAPI()
    app.router.routes.extend(router.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        yield client


async def test_what_a_route_depends_on_comes_first_and_in_order(client: httpx.AsyncClient):
    response = await client.get("/v1/things/a%20b", headers={"key": "k"})
    assert (response.text, calls) == ("GET a b", ["first", "second", "show"])


async def test_a_dependency_that_refuses_keeps_the_function_from_being_called(client: httpx.AsyncClient):
    with pytest.raises(CallerUnknown):
        await client.get("/v1/things/a")
    assert calls == ["first", "second"]


async def test_another_method_is_refused_before_anybody_is_asked(client: httpx.AsyncClient):
    response = await client.post("/v1/things/a")
    assert (response.status_code, response.headers["allow"], calls) == (405, "GET", [])


fixed = APIRouter(route_class=DirectRoute)


@fixed.get("/things/behind")
@fixed.get("/things/{name}")
@fixed.post("/things")
@fixed.get("/things")
async def anything(_request: Request, **_: str) -> Response:
    return PlainTextResponse("")


@pytest.mark.parametrize("path", ["/things", "/things/", "/things/behind", "/things/x", "/nothing", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_route_that_is_looked_up_is_the_one_that_a_router_chooses(method: str, path: str):
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    found = FixedRoutes(fixed.routes).find(scope)
    chosen = next((route for route in fixed.routes if route.matches(scope)[0] is Match.FULL), None)
    assert found is (chosen if path == "/things" else None)
    if found is not None:
        assert (scope["route"], scope["endpoint"], scope["path_params"]) == (found, found.endpoint, {})
