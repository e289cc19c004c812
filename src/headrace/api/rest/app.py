"""The REST application: routes and dialects put together."""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp

from headrace.api.context import Context
from headrace.api.rest import (
    cacheable,
    cohere,
    events,
    huggingface,
    infinity,
    keys,
    moderations,
    native,
    oip,
    openai,
    repository,
    rerank,
    statistics,
    stream,
    system,
    tei,
    tokens,
    users,
    versions,
)
from headrace.api.rest.edge import Edge
from headrace.api.rest.openapi import describe
from headrace.api.rest.shed import Sheddable
from headrace.version import VERSION

SHEDDABLE: Final[Mapping[str, Sheddable]] = {
    **native.SHEDDABLE,
    **openai.SHEDDABLE,
    **moderations.SHEDDABLE,
    **tei.SHEDDABLE,
    **rerank.SHEDDABLE,
    **cohere.SHEDDABLE,
    **infinity.SHEDDABLE,
    **huggingface.SHEDDABLE,
    **oip.SHEDDABLE,
}
"""The paths whose POST needs an engine."""
_ROUTERS: Final = (
    native.router,
    cacheable.router,
    versions.router,
    keys.router,
    users.router,
    tokens.router,
    tokens.published,
    events.router,
    stream.router,
    openai.router,
    moderations.router,
    tei.router,
    tei.probes,
    rerank.router,
    cohere.router,
    huggingface.router,
    infinity.router,
    infinity.probes,
    statistics.router,  # before the models: /v2/models/stats is none
    oip.router,
    repository.router,
    oip.probes,
    system.probes,
    system.router,
    system.pages,
)
_DIALECTS: Final = (
    native,
    versions,
    keys,
    users,
    tokens,
    stream,
    openai,
    moderations,
    tei,
    rerank,
    cohere,
    huggingface,
    infinity,
    oip,
    repository,
)
_SHAPES: Final = [shape for dialect in _DIALECTS for shape in dialect.SHAPES]


def build_routes() -> FastAPI:
    """Return the application with every route; the edge is not around it yet."""
    app = FastAPI(
        title="Headrace",
        version=VERSION,
        description="Text models over REST, in several dialects. Errors of `/api/v1` are RFC 9457 problems with a"
        " stable `code`; other dialects have theirs as their clients read them.",
        docs_url=None,  # served by us, from the installed package
        redoc_url=None,
        openapi_url=None,  # as above, behind the guard
        redirect_slashes=False,  # a path is one of ours or it is not
    )
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)  # ``include_router`` would wrap them and match each path twice
    app.openapi = describe(app, _SHAPES)  # type: ignore[method-assign]
    return app


def build_app(context: Context) -> ASGIApp:
    """Return the whole REST application."""
    return Edge(build_routes(), context)
