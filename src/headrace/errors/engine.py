"""What the runtime could not answer."""

from headrace.errors.base import HeadraceError


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
