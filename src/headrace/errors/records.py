"""Keys, users, who changed what, and what is done once."""

from headrace.errors.base import HeadraceError


class RecordsError(HeadraceError):
    """Keys, users, who changed what, and what is done once."""


class RecordsUnusable(RecordsError):
    """The records cannot be read or written."""

    code = "records.unusable"
    retryable = True


class KeyUnknown(RecordsError):
    """No key has that id."""

    code = "key.unknown"


class KeyEnded(RecordsError):
    """A key that has ended, and cannot be rotated any more."""

    code = "key.ended"


class UserUnknown(RecordsError):
    """No user has that name."""

    code = "user.unknown"


class UserTaken(RecordsError):
    """A user has that name already."""

    code = "user.taken"


class IdempotencyRunning(RecordsError):
    """A request with that idempotency key is running."""

    code = "idempotency.running"
    retryable = True


class IdempotencyLost(RecordsError):
    """A request with that idempotency key began, and nobody knows how far it came."""

    code = "idempotency.lost"


class IdempotencyReused(RecordsError):
    """An idempotency key that was sent with another request."""

    code = "idempotency.reused"


class IdempotencyFull(RecordsError):
    """A caller has sent as many idempotency keys as are kept of one."""

    code = "idempotency.full"
    retryable = True
