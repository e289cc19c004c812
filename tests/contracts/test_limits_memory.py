from tests.contracts.limits import Clock, LimiterContract

from headrace.limits.memory import MemoryLimiter
from headrace.settings import Rule


class TestMemoryLimiter(LimiterContract):
    def make_limiter(self, rules: tuple[Rule, ...], clock: Clock) -> MemoryLimiter:
        return MemoryLimiter(rules, 100, clock, clock)
