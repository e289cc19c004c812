"""Errors of the native dialect: RFC 9457 problems with a stable code."""

from http import HTTPStatus
from typing import Any, Final

import orjson

from headrace.api.rest.refusals import ErrorShape, Refusal

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def _write(refusal: Refusal) -> bytes:
    fields: dict[str, Any] = {
        "type": f"urn:headrace:error:{refusal.code}",
        "title": _PHRASES[refusal.status],
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "retryable": refusal.retryable,
        "request_id": refusal.request_id,
    }
    if refusal.field is not None:
        fields["field"] = refusal.field
    return orjson.dumps(fields)


PROBLEM: Final = ErrorShape("application/problem+json", _write)
"""Also what is said where no dialect is known: to a path that nothing is at, and to what is no HTTP."""
