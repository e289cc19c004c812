"""Refusals over REST: one table from error to status, and as many shapes of body as there are dialects."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from headrace import errors
from headrace.errors import HeadraceError

INTERNAL_CODE: Final = "internal.error"

STATUS: Final[Mapping[type[HeadraceError], int]] = {
    errors.RequestMalformed: 400,
    errors.RequestInvalid: 422,
    errors.RequestTooLarge: 413,
    errors.RequestUnsupported: 415,
    errors.AnswerUnacceptable: 406,
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
    errors.GrantInvalid: 400,
    errors.GrantUnsupported: 400,
    errors.ScopeInvalid: 400,
    errors.KeyUnknown: 404,
    errors.KeyEnded: 409,
    errors.UserUnknown: 404,
    errors.UserTaken: 409,
    errors.RecordsUnusable: 503,
    errors.IdempotencyRunning: 409,
    errors.IdempotencyLost: 409,
    errors.IdempotencyReused: 422,
    errors.IdempotencyFull: 429,
    errors.LimitExceeded: 429,
    errors.QueueFull: 429,  # a client can fill the queue, and what a client can cause is no 5xx
    errors.ReadersFull: 429,
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
    errors.ServerUnreachable: 500,
    errors.ServerFailed: 500,
    errors.AnswerInvalid: 500,
    errors.AnswerMixed: 500,
    errors.SettingUnknown: 500,
    errors.SettingInvalid: 500,
    errors.DependencyMissing: 500,
    errors.PortTaken: 500,
    errors.BindRefused: 500,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer: what every dialect has to say in its own words.

    Attributes:
        code: Of the error; stable.
        field: Path of the offending value as the native dialect names it, such as ``inputs[3]``.
    """

    status: int
    code: str
    message: str
    retryable: bool
    request_id: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """What an error looks like in a dialect. Its clients understand no other: each wants something else of ``error``.

    Attributes:
        media_type: Of the body.
        write: Returns the body.
        statuses: Those that the dialect has others for, of an error or of a status.
        challenge: What may be shown where who asks is not known.
        headers: What all errors have besides.
    """

    media_type: str
    write: Callable[[Refusal], bytes]
    statuses: Mapping[type[HeadraceError] | int, int] = field(default_factory=dict)
    challenge: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, error: HeadraceError, status: int, request_id: str) -> bytes:
        """Return the body for an error."""
        return self.write(Refusal(status, error.code, error.message, error.retryable, request_id, error.field))

    def respond(self, error: HeadraceError, request_id: str) -> Response:
        """Return the response for an error."""
        known = STATUS[type(error)]
        status = self.statuses.get(type(error), self.statuses.get(known, known))
        headers = {**self.headers, "x-request-id": request_id}
        if error.retry_after_s is not None:
            headers["retry-after"] = retry_after(error.retry_after_s)
        if status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = self.challenge
        return Response(self.body(error, status, request_id), status, media_type=self.media_type, headers=headers)

    def respond_unforeseen(self, request_id: str) -> Response:
        """Return the response for an error nobody foresaw; the log has the rest."""
        message = f"something failed inside the server; its log has more under request id {request_id!r}"
        refusal = Refusal(500, INTERNAL_CODE, message, retryable=False, request_id=request_id)
        headers = {**self.headers, "x-request-id": request_id}
        return Response(self.write(refusal), 500, media_type=self.media_type, headers=headers)


def retry_after(seconds: float) -> str:
    """Return the value of the header, which knows whole seconds only."""
    return str(max(1, math.ceil(seconds)))
