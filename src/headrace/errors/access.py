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


class GrantInvalid(AccessError):
    """What was shown for a token is not good, or not any more."""

    code = "grant.invalid"


class GrantUnsupported(AccessError):
    """A way to ask for a token that this server does not know, or has not been set up for."""

    code = "grant.unsupported"


class ScopeInvalid(AccessError):
    """A token for a scope that there is not, or that whoever asks has not."""

    code = "scope.invalid"
