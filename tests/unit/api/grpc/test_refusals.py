import pytest
from grpc import StatusCode

from headrace import errors
from headrace.api.grpc.refusals import STATUS, refuse
from headrace.api.rest.refusals import STATUS as REST
from headrace.errors import HeadraceError

# A call has no body that arrives slowly, no host, no media type and no method.
HTTP_ONLY = {
    errors.RequestUnsupported,
    errors.AnswerUnacceptable,
    errors.RequestTimeout,
    errors.HostInvalid,
    errors.HostForbidden,
    errors.MethodUnsupported,
}
# No RPC changes a key, a user or a version, or issues tokens.
NOT_OFFERED = {
    errors.VersionUnfit,
    errors.KeyUnknown,
    errors.KeyEnded,
    errors.UserUnknown,
    errors.UserTaken,
    errors.GrantInvalid,
    errors.GrantUnsupported,
    errors.ScopeInvalid,
    errors.RecordsUnusable,
    errors.NameInvalid,
    errors.IdempotencyRunning,
    errors.IdempotencyLost,
    errors.IdempotencyReused,
    errors.IdempotencyFull,
}
INSIDE = {errors.EngineFailed, errors.OutputInvalid}


def test_every_error_that_can_reach_a_call_has_a_status():
    reaching = {error for error, status in REST.items() if status != 500} | INSIDE
    assert set(STATUS) == reaching - HTTP_ONLY - NOT_OFFERED


def test_what_a_caller_can_mend_is_no_fault_of_the_server():
    ours = {StatusCode.INTERNAL, StatusCode.UNAVAILABLE, StatusCode.UNKNOWN}
    for error, status in STATUS.items():
        assert (REST[error] >= 500) == (status in ours or error is errors.DeadlineExceeded), error.code


@pytest.mark.parametrize("error", STATUS, ids=lambda error: error.code)
def test_a_long_message_fits_the_headers_of_a_call(error: type[HeadraceError]):
    refusal = refuse(error("x" * 100_000, field="inputs[3]", retry_after_s=0.25), "id")
    assert len(refusal.message) == 1000
    assert len(refusal.message) + len(refusal.details) * 4 / 3 < 8192
