"""Importing, storing and loading models."""

from headrace.errors.base import HeadraceError


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


class VersionUnfit(ModelError):
    """A version that was to answer is broken, or does not answer as its original does; what answered before does on."""

    code = "version.unfit"


class StoreUnusable(ModelError):
    """The model store cannot be read or written."""

    code = "store.unusable"


class StoreUnreachable(ModelError):
    """The remote store did not answer, or asked to try later."""

    code = "store.unreachable"
    retryable = True
