"""Every error Headrace raises on purpose: one class, one stable code.

HeadraceError
├── RequestError                   the caller can mend it; asking again unchanged does not help
│   ├── RequestMalformed           request.malformed      not JSON, not UTF-8, not what it says it is
│   ├── RequestInvalid             request.invalid        JSON of the wrong shape
│   ├── RequestTooLarge            request.too_large      over a limit on bytes or items
│   ├── RequestUnsupported         request.unsupported    a content type or encoding we do not read
│   ├── RequestTimeout             request.timeout        the body did not arrive in time
│   ├── HostInvalid                host.invalid           a Host header that names no host
│   ├── HostForbidden              host.forbidden         a Host this server does not answer for
│   ├── RouteUnknown               route.unknown          nothing lives at this path
│   ├── MethodUnsupported          method.unsupported     the path exists, the method does not
│   ├── InputTooLong               input.too_long         a text over the model's window
│   ├── InputQuarantined           input.quarantined      a text that killed the engine twice
│   ├── ModelUnknown               model.unknown          no model of that name is here
│   └── TaskUnsupported            task.unsupported       the model does another task
├── AccessError
│   ├── CallerUnknown              caller.unknown         no credentials, or wrong ones
│   └── AccessDenied               access.denied          known, but may not do this
├── CapacityError                  asking again later helps
│   ├── LimitExceeded              limit.exceeded         the caller used up its rate
│   ├── QueueFull                  queue.full             more work is waiting than is worth accepting
│   ├── DeadlineExceeded           deadline.exceeded      the answer would come too late
│   ├── TimeoutElapsed             timeout.elapsed        the time is over that the caller gave for it
│   ├── ServiceStopping            service.stopping       the process is shutting down
│   └── ServiceUnready             service.unready        no probe inference has succeeded yet
├── EngineError
│   ├── EngineFailed               engine.failed          the runtime raised on this text alone
│   ├── EngineUnavailable          engine.unavailable     the engine's process is gone or starts anew
│   └── OutputInvalid              output.invalid         the model answered NaN or infinity
├── ModelError                     importing, storing and loading models
│   ├── NameInvalid                name.invalid           a model name outside the grammar
│   ├── SourceInvalid              source.invalid         a source that cannot be read as one
│   ├── SourceMissing              source.missing         nothing is there
│   ├── SourceUnreachable          source.unreachable     the network or registry did not answer
│   ├── SourceUnsafe               source.unsafe          pickle, link, or a path that leads outside
│   ├── SourceUnsupported          source.unsupported     an architecture or pooling we cannot export
│   ├── GateFailed                 gate.failed            the exported graph disagrees with the original
│   ├── PrecisionUnfit             precision.unfit        a precision in which the model answers otherwise
│   ├── RuntimeUnfit               runtime.unfit          a runtime that does not compute this kind of model
│   ├── ModelCorrupt               model.corrupt          a model folder that is not as it was written
│   └── StoreUnusable              store.unusable         the model store cannot be read or written
└── SetupError                     the machine or the configuration
    ├── SettingUnknown             setting.unknown        an option that does not exist
    ├── SettingInvalid             setting.invalid        an option with a value it cannot have
    ├── DependencyMissing          dependency.missing     an extra is not installed
    ├── PortTaken                  port.taken             another process listens there
    └── BindRefused                bind.refused           a public address without any key

A message says what happened, with which value (``!r``), and what to do. It never holds an input text,
a secret, or the text of somebody else's exception: those go to the log, if anywhere.
"""

from collections.abc import Iterator
from typing import ClassVar, Self


class HeadraceError(Exception):
    """Base of all errors that Headrace raises on purpose.

    Attributes:
        code: Stable ``noun.state`` identifier; clients may switch on it.
        retryable: Whether the same request can succeed later without being changed.
        field: Path of the offending value in the request, such as ``inputs[3]``, if there is one.
        retry_after_s: Seconds after which a retry is worth it, if that is known.
    """

    code: ClassVar[str] = "headrace.error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def at(self, field: str) -> Self:
        """Return the same error, pointing at a place in the request."""
        return type(self)(self.message, field=field, retry_after_s=self.retry_after_s)


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


class AccessError(HeadraceError):
    """Who is calling, and what they may do."""


class CallerUnknown(AccessError):
    """No credentials, or wrong ones."""

    code = "caller.unknown"


class AccessDenied(AccessError):
    """The caller is known but may not do this."""

    code = "access.denied"


class CapacityError(HeadraceError):
    """The same request can succeed later."""

    retryable = True


class LimitExceeded(CapacityError):
    """The caller used up its rate."""

    code = "limit.exceeded"


class QueueFull(CapacityError):
    """More work is waiting than is worth accepting."""

    code = "queue.full"


class DeadlineExceeded(CapacityError):
    """The answer would come too late to be of use."""

    code = "deadline.exceeded"


class TimeoutElapsed(CapacityError):
    """The answer was not there within the time that the caller gave for it."""

    code = "timeout.elapsed"


class ServiceStopping(CapacityError):
    """The process is shutting down."""

    code = "service.stopping"


class ServiceUnready(CapacityError):
    """No probe inference has succeeded yet."""

    code = "service.unready"


class EngineError(HeadraceError):
    """The runtime could not answer."""


class EngineFailed(EngineError):
    """The runtime raised on this text, also when it ran alone."""

    code = "engine.failed"


class EngineUnavailable(EngineError):
    """The process of the engine is gone, starts anew, or was killed too often from outside."""

    code = "engine.unavailable"
    retryable = True


class OutputInvalid(EngineError):
    """The model answered NaN or infinity for this text."""

    code = "output.invalid"


class ModelError(HeadraceError):
    """Importing, storing and loading models."""


class NameInvalid(ModelError):
    """A model name outside the grammar."""

    code = "name.invalid"


class SourceInvalid(ModelError):
    """A source that cannot be read as one."""

    code = "source.invalid"


class SourceMissing(ModelError):
    """Nothing is where the source points."""

    code = "source.missing"


class SourceUnreachable(ModelError):
    """The network or the registry did not answer."""

    code = "source.unreachable"
    retryable = True


class SourceUnsafe(ModelError):
    """A pickle, a link, or a path that leads outside."""

    code = "source.unsafe"


class SourceUnsupported(ModelError):
    """An architecture or a pooling that cannot be exported."""

    code = "source.unsupported"


class GateFailed(ModelError):
    """The exported graph disagrees with the original model."""

    code = "gate.failed"


class PrecisionUnfit(ModelError):
    """In this precision, on this machine, the answers are too far from the original model's."""

    code = "precision.unfit"


class RuntimeUnfit(ModelError):
    """A runtime that computes other kinds of models than this one."""

    code = "runtime.unfit"


class ModelCorrupt(ModelError):
    """A model folder that is not as it was written."""

    code = "model.corrupt"


class StoreUnusable(ModelError):
    """The model store cannot be read or written."""

    code = "store.unusable"


class SetupError(HeadraceError):
    """The machine or the configuration."""


class SettingUnknown(SetupError):
    """An option that does not exist."""

    code = "setting.unknown"


class SettingInvalid(SetupError):
    """An option with a value it cannot have."""

    code = "setting.invalid"


class DependencyMissing(SetupError):
    """An extra is not installed."""

    code = "dependency.missing"


class PortTaken(SetupError):
    """Another process listens on the address."""

    code = "port.taken"


class BindRefused(SetupError):
    """A public address without any key."""

    code = "bind.refused"


def error_classes(root: type[HeadraceError] = HeadraceError) -> Iterator[type[HeadraceError]]:
    """Yield every concrete error class, in the order of the tree above."""
    for child in root.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from error_classes(child)
