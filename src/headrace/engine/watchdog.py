"""Whether a batch takes so long that it hangs."""

from collections.abc import Iterable
from typing import Final

from headrace.engine.activity import Running
from headrace.observe.base import BatchFinished

_MEMORY: Final = 0.8  # share of the old estimate that stays when a new one comes in
# A long text costs more for each token than a short one (attention is quadratic: some 5 times at 8,192 tokens), and
# a neighbour on the machine may take half of its time. Twice that: a batch this slow does not come back.
_FACTOR: Final = 20.0
_UNKNOWN_LIMIT_S: Final = 60.0  # before any batch was measured: the first also reads the weights from the disk


class Watchdog:
    """Learns from batches that end, and judges those that run.

    Args:
        min_limit_s: Time every batch is given, however small it is.
    """

    def __init__(self, min_limit_s: float) -> None:
        self._min_limit_s = min_limit_s
        self._tokens_per_s = 0.0

    def learn(self, fact: BatchFinished) -> None:
        """Take a batch into the estimate of what one session does."""
        if fact.run_s > 0:  # a text that failed alone was not measured
            self._tokens_per_s = _blend(self._tokens_per_s, fact.padded_tokens / fact.run_s)

    def is_overdue(self, running: Iterable[Running], now: float) -> bool:
        """Whether something that runs should have ended long ago."""
        return any(now - one.began_at > self._limit_s(one.tokens) for one in running)

    def _limit_s(self, tokens: int) -> float:
        if not self._tokens_per_s:
            return max(self._min_limit_s, _UNKNOWN_LIMIT_S)
        return max(self._min_limit_s, _FACTOR * tokens / self._tokens_per_s)


def _blend(old: float, new: float) -> float:
    return _MEMORY * old + (1 - _MEMORY) * new if old else new
