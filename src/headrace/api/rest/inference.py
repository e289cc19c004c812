"""Asking the service: what a body says, and what is known of a request beside its body."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from headrace.api.allowance import KEY as ALLOWANCES
from headrace.api.asked import Asked, Circumstances
from headrace.api.remembered import ANEW_PARAMETER, may_recall, tell
from headrace.api.remembered import HEADER as ANEW
from headrace.api.remembered import TOLD as REMEMBERED
from headrace.api.rest.body import read_json
from headrace.api.rest.context import caller_of, context_of
from headrace.api.rest.disconnect import while_connected
from headrace.api.rest.timeouts import PARAMETER as TIMEOUT_PARAMETER
from headrace.api.rest.timeouts import within_timeout
from headrace.api.routing import HEADER as ROUTING_KEY
from headrace.api.routing import ROUTING_PARAMETER, check_routing_key
from headrace.api.schemas import Lenient
from headrace.api.validation import validate
from headrace.types import Answer
from headrace.types import Request as ServiceRequest

PARAMETERS: Final = (TIMEOUT_PARAMETER, ROUTING_PARAMETER, ANEW_PARAMETER)
"""What may be said of any request beside its body, for the OpenAPI document."""


class Question(Lenient):
    """A body of another dialect: it says what is asked, and how the answer is written."""

    def asked(self) -> Asked:
        """Return what the service is asked.

        Raises:
            RequestInvalid: It cannot be asked here.
        """
        raise NotImplementedError

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        raise NotImplementedError


def holds_ids(texts: Any) -> bool:
    """Tell whether token ids were sent instead of texts: a list of numbers, or of lists."""
    first = texts[0] if isinstance(texts, list) and texts else None
    return isinstance(first, int | list) and not isinstance(first, bool)


def circumstances(request: Request, deadline: float) -> Circumstances:
    """Return what the service is told of a request beside its body.

    Raises:
        RequestInvalid: A header that says some of it cannot be read.
    """
    return {
        "caller": caller_of(request),
        "request_id": request.scope["state"]["request_id"],
        "routing_key": check_routing_key(request.headers.get(ROUTING_KEY)),
        "deadline": deadline,
        "may_recall": may_recall(request.headers.getlist(ANEW)),
    }


async def ask(request: Request, asked: ServiceRequest) -> Answer:
    """Let the service answer, for as long as the client is there."""
    answer = await while_connected(request, context_of(request).service.run(asked))
    request.scope["state"].update({ALLOWANCES: answer.allowances, REMEMBERED: tell(answer)})
    return answer


def answering(shape: type[Question]) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that answers requests of a shape."""

    async def answer(request: Request) -> Response:
        return await answer_as(request, lambda _: shape)

    return answer


def answering_by_name(shape: type[Question]) -> Callable[[Request, str], Awaitable[Response]]:
    """Return the same for a path that has the model's name in it, which wins over one in the body."""

    async def answer(request: Request, name: str) -> Response:
        return await answer_as(request, lambda _: shape, name)

    return answer


async def answer_as(request: Request, choose: Callable[[Any], type[Question]], name: str | None = None) -> Response:
    """Answer a request.

    Args:
        request: As it came.
        choose: Returns the shape that a body should have.
        name: Of the model, if the path has it.
    """
    server = context_of(request).settings.server
    with within_timeout(request, server) as deadline:
        content = await read_json(request, server)
        question = validate(content, choose(content))
        asked = question.asked()
        if name is not None:
            asked["model"] = name
        answer = await ask(request, ServiceRequest(**asked, **circumstances(request, deadline)))
        return question.respond(answer, request.scope["state"]["request_id"])
