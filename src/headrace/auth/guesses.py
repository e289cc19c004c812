"""How many passwords may be guessed: of one user, and of all together."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from headrace.errors import LimitExceeded

_OF_ONE: Final = (5.0, 30.0)  # at first, and seconds until there is one more: 2,885 a day
_OF_ALL: Final = (60.0, 1.0)  # of 50 ms each: 5 % of a processor at most, in the long run
# More than can be less than full at once: 60, and one for each of the 150 s after which one is full again.
_MOST_NAMES: Final = 256


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def fill(self, now: float, most: float, each_s: float) -> None:
        self.left = min(most, self.left + (now - self.at) / each_s)
        self.at = now


class Guesses:
    """Counts wrong passwords; one that was right costs nothing.

    Args:
        clock: Seconds, which only go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = _Bucket(_OF_ALL[0], clock())
        self._names: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> None:
        """Take one guess, before it is known whether it is right.

        Args:
            name: Of a user, whether there is one or not.

        Raises:
            LimitExceeded: None is left; ``retry_after_s`` says when there is one.
        """
        now = self._clock()
        one = self._names.get(name) or _Bucket(_OF_ONE[0], now)
        waits = []
        for bucket, (most, each_s) in ((one, _OF_ONE), (self._all, _OF_ALL)):
            bucket.fill(now, most, each_s)
            waits.append((1 - bucket.left) * each_s)
        if (wait_s := max(waits)) > 0:
            raise LimitExceeded(f"too many wrong passwords; ask again in {math.ceil(wait_s)} s", retry_after_s=wait_s)
        one.left -= 1
        self._all.left -= 1
        self._names[name] = one  # after that: names that are refused push out none that is counted
        self._names.move_to_end(name)
        if len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)

    def give_back(self, name: str) -> None:
        """Give one back: it was right, or was not looked at."""
        self._all.left += 1
        if name in self._names:
            self._names[name].left += 1
