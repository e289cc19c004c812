"""What an operator asks: is it alive, is it ready, how is it doing, what does it speak."""

from importlib import resources
from typing import Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from headrace.api.responses import Probe
from headrace.api.rest.context import caller_of, context_of, identify, open_to_all
from headrace.api.rest.media import choose_media
from headrace.api.rest.openapi import PROBLEMS
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.auth.base import require
from headrace.errors import RouteUnknown
from headrace.types import Scope

probes: Final = APIRouter(
    dependencies=[Depends(open_to_all)], tags=["operation"], responses=PROBLEMS, route_class=DirectRoute
)
pages: Final = APIRouter(dependencies=[Depends(open_to_all)], include_in_schema=False, route_class=DirectRoute)
router: Final = APIRouter(
    dependencies=[Depends(identify)], tags=["operation"], responses=PROBLEMS, route_class=DirectRoute
)

# Their media types, with what is said of them in the answer; the first is for whoever names neither.
_TEXT: Final = "text/plain"
_METRICS: Final = {_TEXT: "; version=0.0.4", "application/openmetrics-text": "; version=1.0.0"}
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_DOCS_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headrace API</title>
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="docs/favicon-32x32.png">
</head><body><div id="swagger-ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js">
</script></body></html>
"""
# The page itself is open, since a browser cannot send a key with a link; the API's description is behind the guard.
_DOCS_START: Final = """let key = "";
const headers = () => key ? {authorization: "Bearer " + key} : {};
const ask = () => new Promise(answer => {
  const form = document.createElement("form");
  form.innerHTML = `<p><label>API key or access token <input name="key" type="password"></label></p>
    <p>or <label>user <input name="user" autocomplete="username"></label>
    <label>password <input name="password" type="password" autocomplete="current-password"></label></p>
    <button>Open</button>`;
  form.onsubmit = event => {
    event.preventDefault();
    form.remove();
    answer(Object.fromEntries(new FormData(form)));
  };
  document.body.prepend(form);
});
async function logIn() {
  const given = await ask();
  if (!given.user) return given.key;
  const form = new URLSearchParams({grant_type: "password", username: given.user, password: given.password});
  const told = await (await fetch("api/v1/token", {method: "POST", body: form})).json();
  if (!told.access_token) window.alert(told.error_description);
  return told.access_token || "";
}
async function start() {
  const response = await fetch("openapi.json", {headers: headers()});
  if (response.status === 401) {
    key = await logIn();
    return start();
  }
  if (!response.ok) {
    document.body.textContent = (await response.json()).detail + " (reload this page to try again)";
    return;
  }
  SwaggerUIBundle({
    spec: await response.json(), dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null,
    requestInterceptor: request => {
      // What "Authorize" was given goes first.
      if (!Object.keys(request.headers).some(name => name.toLowerCase() === "authorization"))
        request.headers = {...request.headers, ...headers()};
      return request;
    },
  });
}
start();
"""
# The page loads nothing from elsewhere and cannot be framed; Swagger UI sets styles and images inline.
_DOCS_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
}


@probes.head("/livez", include_in_schema=False)
@probes.get("/livez", summary="Is the process alive?", response_model=Probe)
async def livez(_request: Request) -> Response:
    """Answer as long as the event loop runs; a failing answer means: restart me."""
    return json_response({"status": "live"})


@probes.head("/readyz", include_in_schema=False)
@probes.get("/readyz", summary="Would a request be answered?", response_model=Probe)
async def readyz(request: Request) -> Response:
    """Answer 200 after every model has passed a real probe inference and until the server stops."""
    context_of(request).require_ready()
    return json_response({"status": "ready"})


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format, or in that of OpenMetrics for whoever prefers it."""
    require(caller_of(request), Scope.METRICS_READ)
    media = choose_media(request, tuple(_METRICS))
    content = context_of(request).metrics.render(as_openmetrics=media != _TEXT)
    return Response(content, headers={"content-type": f"{media}{_METRICS[media]}; charset=utf-8"})


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return json_response(request.app.openapi())


@pages.get("/docs")
async def docs(_request: Request) -> Response:
    """Return the page that shows the API and tries it out."""
    return HTMLResponse(_DOCS_PAGE, headers=_DOCS_HEADERS)


@pages.get("/docs/{name}")
async def docs_asset(_request: Request, name: str) -> Response:
    """Return a file of the docs page, from the installed package: it works without a network."""
    if name == "start.js":
        return Response(_DOCS_START, media_type="text/javascript", headers=_DOCS_HEADERS)
    if name not in _ASSETS:
        raise RouteUnknown("the docs page has no such file")
    data = resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()
    return Response(data, media_type=_ASSETS[name], headers={**_DOCS_HEADERS, "cache-control": "max-age=3600"})
