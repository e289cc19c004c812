"""Refusals over gRPC: one table from error to status, and the details that clients of any language can read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from headrace import errors
from headrace.errors import HeadraceError

STATUS: Final[Mapping[type[HeadraceError], StatusCode]] = {
    errors.RequestMalformed: StatusCode.INVALID_ARGUMENT,
    errors.RequestInvalid: StatusCode.INVALID_ARGUMENT,
    errors.RequestTooLarge: StatusCode.RESOURCE_EXHAUSTED,  # as gRPC itself says it of a message
    errors.InputTooLong: StatusCode.INVALID_ARGUMENT,
    errors.InputQuarantined: StatusCode.INVALID_ARGUMENT,
    errors.RouteUnknown: StatusCode.NOT_FOUND,
    errors.ModelUnknown: StatusCode.NOT_FOUND,
    errors.TaskUnsupported: StatusCode.FAILED_PRECONDITION,
    errors.CallerUnknown: StatusCode.UNAUTHENTICATED,
    errors.AccessDenied: StatusCode.PERMISSION_DENIED,
    errors.LimitExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.QueueFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.ReadersFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.TimeoutElapsed: StatusCode.DEADLINE_EXCEEDED,
    errors.ServiceStopping: StatusCode.UNAVAILABLE,
    errors.ServiceUnready: StatusCode.UNAVAILABLE,
    errors.EngineFailed: StatusCode.INTERNAL,
    errors.EngineUnavailable: StatusCode.UNAVAILABLE,
    errors.OutputInvalid: StatusCode.INTERNAL,
}
"""Of errors that a call can end with."""

_DOMAIN: Final = "headrace"
# A status travels as a header, and clients take 8 KiB of those together.
_MAX_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call ends that has no answer.

    Attributes:
        details: A ``google.rpc.Status``, as bytes: the same, what is wrong where, and when to ask again.
    """

    status: StatusCode
    message: str
    details: bytes


def refuse(error: HeadraceError, request_id: str) -> Refusal:
    """Return how a call ends with an error."""
    status, message = STATUS.get(type(error), StatusCode.INTERNAL), error.message[:_MAX_MESSAGE]
    told = status_pb2.Status(code=status.value[0], message=message)
    reason = error.code.upper().replace(".", "_")  # the only letters that ErrorInfo has for it
    about = {"code": error.code, "retryable": str(error.retryable).lower(), "request_id": request_id}
    told.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN, metadata=about))
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        told.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        told.details.add().Pack(_retry_info(error.retry_after_s))
    return Refusal(status, message, told.SerializeToString())


def refuse_unforeseen(request_id: str) -> Refusal:
    """Return how a call ends with an error nobody foresaw; the log has the rest."""
    message = f"something failed inside the server; its log has more under request id {request_id!r}"
    told = status_pb2.Status(code=StatusCode.INTERNAL.value[0], message=message)
    return Refusal(StatusCode.INTERNAL, message, told.SerializeToString())


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    info, milliseconds = error_details_pb2.RetryInfo(), math.ceil(seconds * 1000)
    info.retry_delay.seconds, info.retry_delay.nanos = milliseconds // 1000, milliseconds % 1000 * 1_000_000
    return info
