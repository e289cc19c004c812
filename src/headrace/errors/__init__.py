"""Every error Headrace raises on purpose: one class, one stable code.

HeadraceError
├── AccessError
│   ├── CallerUnknown              caller.unknown         no credentials, or wrong ones
│   ├── AccessDenied               access.denied          known, but may not do this
│   ├── GrantInvalid               grant.invalid          what was shown for a token is not good
│   ├── GrantUnsupported           grant.unsupported      no such way to ask for a token, or none at all
│   └── ScopeInvalid               scope.invalid          a token for more than whoever asks has
├── CapacityError                  asking again later helps
│   ├── LimitExceeded              limit.exceeded         the caller used up what it may use
│   ├── QueueFull                  queue.full             more work is waiting than is worth accepting
│   ├── ReadersFull                readers.full           as many follow the events as may
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
│   ├── VersionUnfit               version.unfit          a version that was to answer, and cannot
│   ├── StoreUnusable              store.unusable         the model store cannot be read or written
│   └── StoreUnreachable           store.unreachable      the remote store did not answer
├── RecordsError                   keys, users, who changed what, and what is done once
│   ├── RecordsUnusable            records.unusable       they cannot be read or written
│   ├── KeyUnknown                 key.unknown            no key has that id
│   ├── KeyEnded                   key.ended              a key that cannot be rotated any more
│   ├── UserUnknown                user.unknown           no user has that name
│   ├── UserTaken                  user.taken             a user has that name already
│   ├── IdempotencyRunning         idempotency.running    a request with that idempotency key is running
│   ├── IdempotencyLost            idempotency.lost       one began, and nobody knows how far it came
│   ├── IdempotencyReused          idempotency.reused     an idempotency key that was another request's
│   └── IdempotencyFull            idempotency.full       as many are kept of the caller as may be
├── RequestError                   the caller can mend it; asking again unchanged does not help
│   ├── RequestMalformed           request.malformed      not JSON, not UTF-8, not what it says it is
│   ├── RequestInvalid             request.invalid        JSON of the wrong shape
│   ├── RequestTooLarge            request.too_large      over a limit on bytes or items
│   ├── RequestUnsupported         request.unsupported    a content type or encoding we do not read
│   ├── AnswerUnacceptable         answer.unacceptable    the answer cannot be written as the caller accepts it
│   ├── RequestTimeout             request.timeout        the body did not arrive in time
│   ├── HostInvalid                host.invalid           a Host header that names no host
│   ├── HostForbidden              host.forbidden         a Host this server does not answer for
│   ├── RouteUnknown               route.unknown          nothing lives at this path
│   ├── MethodUnsupported          method.unsupported     the path exists, the method does not
│   ├── InputTooLong               input.too_long         a text over the model's window
│   ├── InputQuarantined           input.quarantined      a text that killed the engine twice
│   ├── ModelUnknown               model.unknown          no model of that name is here
│   └── TaskUnsupported            task.unsupported       the model does another task
├── ServerError                    a server that is asked over the network
│   ├── ServerUnreachable          server.unreachable     nobody listens there, or it hung up
│   ├── ServerFailed               server.failed          it does not say why it has no answer
│   ├── AnswerInvalid              answer.invalid         what it answered cannot be the answer
│   └── AnswerMixed                answer.mixed           another version answered in the middle of a list
├── SetupError                     the machine or the configuration
│   ├── SettingUnknown             setting.unknown        an option that does not exist
│   ├── SettingInvalid             setting.invalid        an option with a value it cannot have
│   ├── DependencyMissing          dependency.missing     an extra is not installed
│   ├── PortTaken                  port.taken             another process listens there
│   └── BindRefused                bind.refused           a public address without any key
└── TrainingError                  learning a model from data
    ├── DataMissing                data.missing           a file of data is not there
    ├── DataInvalid                data.invalid           a file, or a row of it, that cannot be read as data
    ├── DataUnfit                  data.unfit             data from which this cannot be learned
    ├── TrainingBusy               training.busy          another process trains a model of that name
    ├── TrainingUnfinished         training.unfinished    one was interrupted: go on with it, or start anew?
    ├── TrainingChanged            training.changed       the one to go on with was another
    ├── TrainingCorrupt            training.corrupt       a checkpoint that is not as it was written
    ├── TrainingStopped            training.stopped       it was asked to stop, and kept what it had
    └── TrainingDiverged           training.diverged      the loss is no number any more

A message says what happened, with which value (``!r``), and what to do. It never holds an input text,
a secret, or the text of somebody else's exception: those go to the log, if anywhere.
"""

from headrace.errors.access import (
    AccessDenied,
    AccessError,
    CallerUnknown,
    GrantInvalid,
    GrantUnsupported,
    ScopeInvalid,
)
from headrace.errors.base import HeadraceError, error_classes, errors_by_code
from headrace.errors.capacity import (
    CapacityError,
    DeadlineExceeded,
    LimitExceeded,
    QueueFull,
    ReadersFull,
    ServiceStopping,
    ServiceUnready,
    TimeoutElapsed,
)
from headrace.errors.engine import EngineError, EngineFailed, EngineUnavailable, OutputInvalid
from headrace.errors.model import (
    GateFailed,
    ModelCorrupt,
    ModelError,
    NameInvalid,
    PrecisionUnfit,
    RuntimeUnfit,
    SourceInvalid,
    SourceMissing,
    SourceUnreachable,
    SourceUnsafe,
    SourceUnsupported,
    StoreUnreachable,
    StoreUnusable,
    VersionUnfit,
)
from headrace.errors.records import (
    IdempotencyFull,
    IdempotencyLost,
    IdempotencyReused,
    IdempotencyRunning,
    KeyEnded,
    KeyUnknown,
    RecordsError,
    RecordsUnusable,
    UserTaken,
    UserUnknown,
)
from headrace.errors.request import (
    AnswerUnacceptable,
    HostForbidden,
    HostInvalid,
    InputQuarantined,
    InputTooLong,
    MethodUnsupported,
    ModelUnknown,
    RequestError,
    RequestInvalid,
    RequestMalformed,
    RequestTimeout,
    RequestTooLarge,
    RequestUnsupported,
    RouteUnknown,
    TaskUnsupported,
)
from headrace.errors.server import AnswerInvalid, AnswerMixed, ServerError, ServerFailed, ServerUnreachable
from headrace.errors.setup import BindRefused, DependencyMissing, PortTaken, SettingInvalid, SettingUnknown, SetupError
from headrace.errors.training import (
    DataInvalid,
    DataMissing,
    DataUnfit,
    TrainingBusy,
    TrainingChanged,
    TrainingCorrupt,
    TrainingDiverged,
    TrainingError,
    TrainingStopped,
    TrainingUnfinished,
)

__all__ = [
    "AccessDenied",
    "AccessError",
    "AnswerInvalid",
    "AnswerMixed",
    "AnswerUnacceptable",
    "BindRefused",
    "CallerUnknown",
    "CapacityError",
    "DataInvalid",
    "DataMissing",
    "DataUnfit",
    "DeadlineExceeded",
    "DependencyMissing",
    "EngineError",
    "EngineFailed",
    "EngineUnavailable",
    "GateFailed",
    "GrantInvalid",
    "GrantUnsupported",
    "HeadraceError",
    "HostForbidden",
    "HostInvalid",
    "IdempotencyFull",
    "IdempotencyLost",
    "IdempotencyReused",
    "IdempotencyRunning",
    "InputQuarantined",
    "InputTooLong",
    "KeyEnded",
    "KeyUnknown",
    "LimitExceeded",
    "MethodUnsupported",
    "ModelCorrupt",
    "ModelError",
    "ModelUnknown",
    "NameInvalid",
    "OutputInvalid",
    "PortTaken",
    "PrecisionUnfit",
    "QueueFull",
    "ReadersFull",
    "RecordsError",
    "RecordsUnusable",
    "RequestError",
    "RequestInvalid",
    "RequestMalformed",
    "RequestTimeout",
    "RequestTooLarge",
    "RequestUnsupported",
    "RouteUnknown",
    "RuntimeUnfit",
    "ScopeInvalid",
    "ServerError",
    "ServerFailed",
    "ServerUnreachable",
    "ServiceStopping",
    "ServiceUnready",
    "SettingInvalid",
    "SettingUnknown",
    "SetupError",
    "SourceInvalid",
    "SourceMissing",
    "SourceUnreachable",
    "SourceUnsafe",
    "SourceUnsupported",
    "StoreUnreachable",
    "StoreUnusable",
    "TaskUnsupported",
    "TimeoutElapsed",
    "TrainingBusy",
    "TrainingChanged",
    "TrainingCorrupt",
    "TrainingDiverged",
    "TrainingError",
    "TrainingStopped",
    "TrainingUnfinished",
    "UserTaken",
    "UserUnknown",
    "VersionUnfit",
    "error_classes",
    "errors_by_code",
]
