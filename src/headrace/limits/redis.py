"""The rate limiter in Redis: the same algorithm as in memory, counted once for all replicas."""

from typing import Any, Final

from headrace.allowance import Allowance
from headrace.limits.base import Limiter
from headrace.limits.rate import Rate
from headrace.redis import RedisAway, RedisLink

_KEY: Final = "headrace:limits:v1:"
_MICROSECONDS: Final = 1e6

# Read and written in one step, by the clock of Redis alone: those of the replicas differ. In whole microseconds, which
# Lua's numbers keep exactly. What is kept is never more than a full allowance ahead, whatever the clock did meanwhile.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = tonumber(redis.call('GET', KEYS[1]) or now)
local full_in = math.min(math.max(kept - now, 0), room)
local wait = full_in + cost - room
if wait > 0 then
  return {wait, full_in}
end
full_in = full_in + cost
redis.call('SET', KEYS[1], string.format('%.0f', now + full_in), 'PX', math.ceil(full_in / 1000) + 1)
return {0, full_in}
"""


class RedisLimiter:
    """Lets each caller send ``burst`` requests at once, and ``requests_per_s`` in the long run, over all replicas.

    While Redis is away each replica counts for itself: all together then admit at most as many times the rate as there
    are replicas, and nobody is refused for it.

    Args:
        link: To Redis.
        requests_per_s: Sustained rate of one caller.
        burst: Requests a caller may send at once.
        otherwise: Counts while Redis is away.
    """

    def __init__(self, link: RedisLink, requests_per_s: float, burst: int, otherwise: Limiter) -> None:
        self._link = link
        # What one request takes in whole microseconds, so that a burst is exactly as many of them.
        self._unit = max(1, round(_MICROSECONDS / requests_per_s))
        self._rate = Rate(_MICROSECONDS / self._unit, burst)
        self._otherwise = otherwise
        self._script: Any = None

    async def acquire(self, caller: str, cost: float = 1.0) -> Allowance | None:
        """Take ``cost`` requests from the caller's allowance, and return what is left of it.

        Raises:
            LimitExceeded: The allowance is used up, and nothing is taken.
        """
        rate = self._rate
        rate.require_payable(caller, cost)
        spent = [round(cost * self._unit), rate.burst * self._unit]

        async def take(redis: Any) -> tuple[int, int]:
            if self._script is None:
                self._script = redis.register_script(_TAKE)
            wait, full_in = await self._script(keys=[_KEY + caller], args=spent)
            return int(wait), int(full_in)

        try:
            wait, full_in = await self._link.call(take)
        except RedisAway:
            return await self._otherwise.acquire(caller, cost)
        if wait:
            raise rate.refuse(caller, wait / _MICROSECONDS, full_in / _MICROSECONDS)
        return rate.allowance(full_in / _MICROSECONDS)
