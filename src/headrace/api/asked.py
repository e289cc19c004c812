"""What a door makes of a request, in two parts: what the caller asked, and what is so of every request."""

from typing import NotRequired, TypedDict

from headrace.options import Options
from headrace.types import Caller, TaskName


class Asked(TypedDict):
    """Fields of a request to the service that its body says."""

    task: TaskName
    inputs: tuple[str, ...]
    options: Options
    model: NotRequired[str | None]
    query: NotRequired[str]
    labels: NotRequired[tuple[str, ...]]


class Circumstances(TypedDict):
    """Fields of a request to the service that every dialect has the same for."""

    caller: Caller
    request_id: str
    routing_key: str | None
    deadline: float
    may_recall: bool
