"""What a caller sent and can mend."""

from headrace.errors.base import HeadraceError


class RequestError(HeadraceError):
    """The caller can mend it; asking again unchanged does not help."""


class RequestMalformed(RequestError):
    """The body is not JSON, not UTF-8, or not what its headers say."""

    code = "request.malformed"


class RequestInvalid(RequestError):
    """The body is JSON of the wrong shape."""

    code = "request.invalid"


class RequestTooLarge(RequestError):
    """The request is over a limit on bytes or items."""

    code = "request.too_large"


class RequestUnsupported(RequestError):
    """The content type or encoding is none that is read here."""

    code = "request.unsupported"


class AnswerUnacceptable(RequestError):
    """The answer cannot be written as the caller accepts it."""

    code = "answer.unacceptable"


class RequestTimeout(RequestError):
    """The request did not arrive in time."""

    code = "request.timeout"
    retryable = True


class HostInvalid(RequestError):
    """The Host header names no host."""

    code = "host.invalid"


class HostForbidden(RequestError):
    """The Host header names a host this server does not answer for."""

    code = "host.forbidden"


class RouteUnknown(RequestError):
    """Nothing lives at this path."""

    code = "route.unknown"


class MethodUnsupported(RequestError):
    """The path exists, the method does not."""

    code = "method.unsupported"


class InputTooLong(RequestError):
    """A text has more tokens than the model's window."""

    code = "input.too_long"


class InputQuarantined(RequestError):
    """A text killed the engine twice, the second time alone; it is not run again."""

    code = "input.quarantined"


class ModelUnknown(RequestError):
    """No model of that name is here."""

    code = "model.unknown"


class TaskUnsupported(RequestError):
    """The model does another task."""

    code = "task.unsupported"
