"""Who is calling, and what they may do."""

from headrace.errors.base import HeadraceError


class AccessError(HeadraceError):
    """Who is calling, and what they may do."""


class CallerUnknown(AccessError):
    """No credentials, or wrong ones."""

    code = "caller.unknown"


class AccessDenied(AccessError):
    """The caller is known but may not do this."""

    code = "access.denied"
