"""What a request for inference is beside its body: who asks, until when, and as which request."""

from typing import TypedDict

from starlette.requests import Request

from headrace.api.rest.context import caller_of, context_of
from headrace.api.rest.disconnect import while_connected
from headrace.api.rest.routing import routing_key
from headrace.types import Answer, Caller
from headrace.types import Request as ServiceRequest


class Circumstances(TypedDict):
    """Fields of a request to the service that every dialect has the same for."""

    caller: Caller
    request_id: str
    routing_key: str | None
    deadline: float


def circumstances(request: Request, deadline: float) -> Circumstances:
    """Return what the service is told of a request beside its body.

    Raises:
        RequestInvalid: A header that says some of it cannot be read.
    """
    return {
        "caller": caller_of(request),
        "request_id": request.scope["state"]["request_id"],
        "routing_key": routing_key(request),
        "deadline": deadline,
    }


async def ask(request: Request, asked: ServiceRequest) -> Answer:
    """Let the service answer, for as long as the client is there."""
    return await while_connected(request, context_of(request).service.run(asked))
