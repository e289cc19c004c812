"""What can succeed later."""

from collections.abc import Sequence

from headrace.allowance import Allowance
from headrace.errors.base import HeadraceError


class CapacityError(HeadraceError):
    """The same request can succeed later."""

    retryable = True


class LimitExceeded(CapacityError):
    """The caller used up what it may use.

    Attributes:
        allowances: What is left, of the limit first that it is over.
    """

    code = "limit.exceeded"
    allowances: Sequence[Allowance] = ()

    @property
    def limit(self) -> str:
        """The name of the limit; empty if it is not known, as of another server's."""
        return self.allowances[0].limit if self.allowances else ""


class QueueFull(CapacityError):
    """More work is waiting than is worth accepting."""

    code = "queue.full"


class ReadersFull(CapacityError):
    """As many follow the events as may."""

    code = "readers.full"


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
