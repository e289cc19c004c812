"""Keys, users, and who changed what."""

from headrace.errors.base import HeadraceError


class RecordsError(HeadraceError):
    """Keys, users, and who changed what."""


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
