"""How a caller says that it wants no remembered answer, and is told whether it got one."""

from collections.abc import Sequence
from typing import Any, Final

from headrace.types import Answer

HEADER: Final = "cache-control"
_ANEW: Final = "no-cache"  # https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.4

TOLD: Final = "x-cache"
"""The header of an answer that says so."""

ANEW_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": f"`{_ANEW}`: compute the answer, also if it is remembered. Nothing else is read.",
    "schema": {"type": "string", "examples": [_ANEW]},
}
"""For the OpenAPI document."""


def may_recall(directives: Sequence[str]) -> bool:
    """Tell whether a remembered answer will do.

    Args:
        directives: All values of the header, each with directives between commas.
    """
    return not any(each.strip().lower() == _ANEW for value in directives for each in value.split(","))


def tell(answer: Answer) -> str:
    """Return whether all of an answer was remembered."""
    return "HIT" if answer.is_remembered else "MISS"
