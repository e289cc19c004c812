from tests.contracts.limits import Clock, LimiterContract

from headrace.limits.memory import MemoryLimiter


class TestMemoryLimiter(LimiterContract):
    def make_limiter(self, requests_per_s: float | None, burst: int, clock: Clock) -> MemoryLimiter:
        return MemoryLimiter(requests_per_s, burst, 100, clock)
