"""How large a request may be, which every door's requests are held to alike."""

from collections.abc import Callable, Sequence

from headrace.errors import RequestInvalid, RequestTooLarge
from headrace.settings import LimitSettings
from headrace.tasks.base import name_input, name_label
from headrace.types import Request


def require_within(bounds: LimitSettings, request: Request) -> None:
    """Let a request pass that is no larger than one may be.

    Raises:
        RequestInvalid: It asks about nothing.
        RequestTooLarge: It has too many texts, or too long ones.
    """
    count = len(request.inputs)
    if not count:
        raise RequestInvalid("inputs is empty; send at least one text", field="inputs")
    if count > bounds.max_inputs:
        raise RequestTooLarge(
            f"{count} inputs are more than the {bounds.max_inputs} of one request; send several requests",
            field="inputs",
        )
    if (pairs := count * len(request.labels)) > bounds.max_inputs:
        raise RequestTooLarge(
            f"{count} inputs with {len(request.labels)} labels each are {pairs} texts to read, more than the"
            f" {bounds.max_inputs} of one request; send several requests",
            field="labels",
        )
    longest = bounds.max_text_chars
    _require_short(request.inputs, longest, name_input)
    _require_short(request.labels, longest, name_label)
    _require_short((request.query or "",), longest, lambda _: "query")


def _require_short(texts: Sequence[str], longest: int, name: Callable[[int], str]) -> None:
    for index, text in enumerate(texts):
        if len(text) > longest:
            raise RequestTooLarge(
                f"the text has {len(text)} characters and at most {longest} are read; send less of it",
                field=name(index),
            )
