"""How fast work leaves an engine: tokens per second, over all of its sessions, while there is enough to do.

Measured from outside, by what has left after a while, so that all that takes time is in it: tokenizing, gaps between
batches, a neighbour that takes the CPU away.
"""

from typing import Final

# Two of these forget three quarters, so a rate that changes by ten is known within 10 % after seven intervals.
_MEMORY: Final = 0.5
_ASSUMED_TOKENS_PER_S: Final = 20_000.0  # before anything ran: a small model on two cores has some 14,000
# An engine with little to do finishes fewer tokens a second than it can: a batch of one short text takes a third of
# the time of a full one. And its first batch, which wakes caches and threads, takes some times longer than the next.
_HEADROOM: Final = 4.0
# An engine that had so many times what left inside from the beginning never waited for work. It has to be more than
# once: a lone text that is held up for a moment must not pass for a slow engine.
_ENOUGH: Final = 1.5


class DrainRate:
    """Learns the rate, interval by interval.

    An interval in which the engine had work all the time shows its rate. One in which it ran dry shows only what it
    can do at least: such an interval can raise the rate and not lower it. So a quiet night does not make the morning's
    first burst be refused.

    What is told of several batches can come at once, and the engine be empty a moment later. So the work of an interval
    that ran dry is taken to have lasted at least as long as its batches did.

    Args:
        interval_s: Least length of an interval.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._tokens_per_s = _ASSUMED_TOKENS_PER_S
        self._is_measured = False
        self._best = 0.0
        self._began_at = 0.0
        self._ahead = self._left = 0
        self._ran_s = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Tokens that leave in a second; more than 0."""
        return self._tokens_per_s

    def begin(self, now: float, inside: int) -> None:
        """Begin an interval with so many tokens inside."""
        self._began_at, self._ahead, self._left, self._ran_s = now, inside, 0, 0.0

    def count(self, tokens: int, run_s: float, now: float, inside: int) -> None:
        """Take note of a batch.

        Args:
            tokens: That have left with it.
            run_s: How long it ran.
            now: When it is told.
            inside: Tokens that are there still.
        """
        self._left += tokens
        self._ran_s += run_s
        if now - self._began_at >= self._interval_s:
            self._learn(now, had_enough=self._ahead >= _ENOUGH * self._left)
            self.begin(now, inside)

    def end(self, now: float) -> None:
        """End an interval early: nothing is inside any more."""
        self._learn(now, had_enough=False)

    def _learn(self, now: float, *, had_enough: bool) -> None:
        elapsed_s = now - self._began_at
        if not had_enough:
            elapsed_s = max(elapsed_s, self._ran_s)
        if not self._left or elapsed_s <= 0:
            return
        found, known = self._left / elapsed_s, self._tokens_per_s
        if not (self._is_measured or had_enough):
            self._best = max(self._best, found)
            self._tokens_per_s = _HEADROOM * self._best
        elif had_enough or found > known:
            # The first one too counts for a half only: an engine that was idle is slow for a moment, and would refuse
            # its first callers by that.
            self._tokens_per_s = _MEMORY * known + (1 - _MEMORY) * found
            self._is_measured = self._is_measured or had_enough
