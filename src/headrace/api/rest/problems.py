"""Errors over REST: one table from error to status, one shape of body (RFC 9457)."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

from headrace import errors
from headrace.errors import HeadraceError

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
MEDIA_TYPE: Final = "application/problem+json"
INTERNAL_CODE: Final = "internal.error"

STATUS: Final[Mapping[type[HeadraceError], int]] = {
    errors.RequestMalformed: 400,
    errors.RequestInvalid: 422,
    errors.RequestTooLarge: 413,
    errors.RequestUnsupported: 415,
    errors.RequestTimeout: 408,
    errors.HostInvalid: 400,
    errors.HostForbidden: 403,
    errors.RouteUnknown: 404,
    errors.MethodUnsupported: 405,
    errors.InputTooLong: 422,
    errors.InputQuarantined: 422,
    errors.ModelUnknown: 404,
    errors.VersionUnfit: 409,
    errors.TaskUnsupported: 422,
    errors.CallerUnknown: 401,
    errors.AccessDenied: 403,
    errors.LimitExceeded: 429,
    errors.QueueFull: 429,  # a client can fill the queue, and what a client can cause is no 5xx
    errors.DeadlineExceeded: 504,
    errors.TimeoutElapsed: 408,  # the caller chose the time, and what a client can cause is no 5xx
    errors.ServiceStopping: 503,
    errors.ServiceUnready: 503,
    errors.EngineFailed: 500,
    errors.EngineUnavailable: 503,
    errors.OutputInvalid: 500,
    # The rest cannot reach a request: they end the start-up or a command.
    errors.NameInvalid: 422,
    errors.SourceInvalid: 500,
    errors.SourceMissing: 500,
    errors.SourceUnreachable: 500,
    errors.SourceUnsafe: 500,
    errors.SourceUnsupported: 500,
    errors.GateFailed: 500,
    errors.ModelCorrupt: 500,
    errors.PrecisionUnfit: 500,
    errors.RuntimeUnfit: 500,
    errors.StoreUnusable: 500,
    errors.StoreUnreachable: 500,
    errors.DataMissing: 500,
    errors.DataInvalid: 500,
    errors.DataUnfit: 500,
    errors.TrainingBusy: 500,
    errors.TrainingUnfinished: 500,
    errors.TrainingChanged: 500,
    errors.TrainingCorrupt: 500,
    errors.TrainingStopped: 500,
    errors.TrainingDiverged: 500,
    errors.SettingUnknown: 500,
    errors.SettingInvalid: 500,
    errors.DependencyMissing: 500,
    errors.PortTaken: 500,
    errors.BindRefused: 500,
}


def problem(error: HeadraceError, request_id: str) -> Response:
    """Return the response for an error."""
    status = STATUS[type(error)]
    headers = {"x-request-id": request_id}
    if error.retry_after_s is not None:
        headers["retry-after"] = retry_after(error.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(problem_body(error, status, request_id), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def retry_after(seconds: float) -> str:
    """Return the value of the header, which knows whole seconds only."""
    return str(max(1, math.ceil(seconds)))


def problem_body(error: HeadraceError, status: int, request_id: str) -> bytes:
    """Return the body for an error."""
    fields = _fields(error.code, status, error.message, request_id, retryable=error.retryable)
    if error.field is not None:
        fields["field"] = error.field
    return orjson.dumps(fields)


def internal_problem(request_id: str) -> Response:
    """Return the response for an error nobody foresaw; the log has the rest."""
    detail = f"something failed inside the server; its log has more under request id {request_id!r}"
    fields = _fields(INTERNAL_CODE, 500, detail, request_id, retryable=False)
    return Response(orjson.dumps(fields), status_code=500, media_type=MEDIA_TYPE, headers={"x-request-id": request_id})


def _fields(code: str, status: int, detail: str, request_id: str, *, retryable: bool) -> dict[str, Any]:
    return {
        "type": f"urn:headrace:error:{code}",
        "title": _PHRASES[status],
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "request_id": request_id,
    }
