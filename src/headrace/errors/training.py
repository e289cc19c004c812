"""Learning a model from data."""

from headrace.errors.base import HeadraceError


class TrainingError(HeadraceError):
    """Learning a model from data."""


class DataMissing(TrainingError):
    """A file of data is not there, or may not be read."""

    code = "data.missing"


class DataInvalid(TrainingError):
    """A file, or a row of it, that cannot be read as data; the message names the line."""

    code = "data.invalid"


class DataUnfit(TrainingError):
    """Data that can be read, and from which this cannot be learned."""

    code = "data.unfit"


class TrainingBusy(TrainingError):
    """Another process trains a model of that name."""

    code = "training.busy"
    retryable = True


class TrainingUnfinished(TrainingError):
    """A training of that name was interrupted, and nobody said whether to go on with it."""

    code = "training.unfinished"


class TrainingChanged(TrainingError):
    """The training to go on with had other data, another base or other numbers."""

    code = "training.changed"


class TrainingCorrupt(TrainingError):
    """A checkpoint of a training that is not as it was written."""

    code = "training.corrupt"


class TrainingStopped(TrainingError):
    """It was asked to stop; what it had is kept."""

    code = "training.stopped"
    retryable = True


class TrainingDiverged(TrainingError):
    """The loss is infinite or no number any more."""

    code = "training.diverged"
