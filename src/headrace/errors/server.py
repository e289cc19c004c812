"""A server that is asked over the network."""

from headrace.errors.base import HeadraceError


class ServerError(HeadraceError):
    """A server that is asked over the network."""


class ServerUnreachable(ServerError):
    """Nobody listens at its address, or the connection ended before the answer was there."""

    code = "server.unreachable"
    retryable = True


class ServerFailed(ServerError):
    """It has no answer, and says nothing that is known of why."""

    code = "server.failed"


class AnswerInvalid(ServerError):
    """What it answered cannot be the answer to what was asked."""

    code = "answer.invalid"


class AnswerMixed(ServerError):
    """Another version of the model answered in the middle of a list, whose results then cannot be compared."""

    code = "answer.mixed"
    retryable = True
