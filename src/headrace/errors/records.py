"""Keys, and who changed what."""

from headrace.errors.base import HeadraceError


class RecordsError(HeadraceError):
    """Keys, and who changed what."""


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
