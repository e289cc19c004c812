"""The port of the limiter: what a request asks of it, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from headrace.allowance import Allowance
from headrace.types import Caller, Text, parts_of

# English words are four to five characters with the space, and about one token each; around a text stand two marks.
_CHARS_PER_TOKEN: Final = 4
_MARKS: Final = 2


def estimate_tokens(texts: Sequence[Text], window: int | None) -> int:
    """Return about how many tokens texts are: two, and one for each four characters.

    Args:
        texts: What a model reads.
        window: Most that it reads of a text; nothing where all of it is read.
    """
    each = [_MARKS + sum(map(len, parts_of(text))) // _CHARS_PER_TOKEN for text in texts]
    return sum(each) if window is None else sum([min(tokens, window) for tokens in each])


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request is going to use.

    Attributes:
        model: Name of the model that it asks.
        texts: What that has to read.
        window: The most tokens that are read of one of them; nothing if all are.
        deadline: Point on the monotonic clock by which the request has ended.
    """

    caller: Caller
    model: str
    texts: Sequence[Text]
    window: int | None
    deadline: float

    def estimate(self) -> int:
        """Return about how many tokens it will take."""
        return estimate_tokens(self.texts, self.window)


class Reservation(Protocol):
    """What a request has taken, until it ends."""

    async def settle(self, tokens: int) -> Sequence[Allowance]:
        """Say that the request has ended, and return what is left, of the limit first that is nearest to its end.

        Its place among those that run at once is free again, and instead of the tokens that were estimated those count
        that were computed: what was too much comes back, and what was too little is a debt that time, or the next
        period, pays. A second call changes nothing.

        Once called it is done to its end, also if whoever waits for it is cancelled.
        """
        ...


class Limiter(Protocol):
    """Decides whether a request may be answered now."""

    async def acquire(self, demand: Demand) -> Reservation:
        """Take what a request will use of every limit that is for it: of all of them, or of none.

        Who is cancelled while it waits for this has taken nothing.

        Raises:
            LimitExceeded: It is over one; ``retry_after_s`` says when no limit will be in its way any more, and is
                missing where that depends on other requests or where waiting does not help. ``allowances`` has what
                is left, of the limit that was in the way first.
        """
        ...

    async def aclose(self) -> None:
        """Wait until what was settled is written."""
        ...


class _Nothing:
    """Taken where no limit is for a request."""

    async def settle(self, tokens: int) -> Sequence[Allowance]:  # noqa: ARG002 - as every reservation
        """Change nothing."""
        return ()


NOTHING: Final = _Nothing()
"""The reservation of a request that no limit is for."""
