"""What every rate limiter must do."""

import pytest

from headrace.errors import LimitExceeded
from headrace.limits.base import Limiter


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class LimiterContract:
    """Inherit, and make the limiter; it must read the time from ``clock``."""

    def make_limiter(self, requests_per_s: float | None, burst: int, clock: Clock) -> Limiter:
        """Return a limiter that has seen no caller."""
        raise NotImplementedError

    async def test_a_burst_passes_and_the_next_request_is_refused(self) -> None:
        limiter = self.make_limiter(2.0, 3, Clock())
        for _ in range(3):
            await limiter.acquire("ada")
        with pytest.raises(LimitExceeded) as caught:
            await limiter.acquire("ada")
        assert caught.value.retry_after_s == pytest.approx(0.5)
        assert "'ada'" in caught.value.message
        assert "ask again in 0.500 s" in caught.value.message

    async def test_a_refused_caller_that_waits_as_told_is_admitted(self) -> None:
        clock = Clock()
        limiter = self.make_limiter(3.0, 1, clock)
        await limiter.acquire("ada")
        with pytest.raises(LimitExceeded) as caught:
            await limiter.acquire("ada")
        clock.now += caught.value.retry_after_s or 0.0
        await limiter.acquire("ada")

    async def test_a_refusal_takes_nothing(self) -> None:
        clock = Clock()
        limiter = self.make_limiter(1.0, 1, clock)
        await limiter.acquire("ada")
        for _ in range(5):
            with pytest.raises(LimitExceeded):
                await limiter.acquire("ada")
        clock.now += 1.0
        await limiter.acquire("ada")

    async def test_the_allowance_comes_back_at_the_rate_and_no_further_than_the_burst(self) -> None:
        clock = Clock()
        limiter = self.make_limiter(1.0, 2, clock)
        await limiter.acquire("ada", 2)
        clock.now += 3600
        await limiter.acquire("ada", 2)
        with pytest.raises(LimitExceeded):
            await limiter.acquire("ada")

    async def test_callers_do_not_share_an_allowance(self) -> None:
        limiter = self.make_limiter(1.0, 1, Clock())
        await limiter.acquire("ada")
        await limiter.acquire("bob")
        with pytest.raises(LimitExceeded):
            await limiter.acquire("ada")

    async def test_a_cost_counts_as_that_many_requests(self) -> None:
        limiter = self.make_limiter(1.0, 4, Clock())
        await limiter.acquire("ada", 3)
        with pytest.raises(LimitExceeded) as caught:
            await limiter.acquire("ada", 2.5)
        assert caught.value.retry_after_s == pytest.approx(1.5)

    async def test_a_cost_over_the_burst_is_refused_without_a_time(self) -> None:
        limiter = self.make_limiter(1.0, 2, Clock())
        with pytest.raises(LimitExceeded, match="costs 3 and at most 2") as caught:
            await limiter.acquire("ada", 3)
        assert caught.value.retry_after_s is None
        await limiter.acquire("ada", 2)

    async def test_what_is_left_is_told(self) -> None:
        clock = Clock()
        limiter = self.make_limiter(2.0, 3, clock)
        left = [await limiter.acquire("ada") for _ in range(3)]
        assert [(each.quota, each.window_s, each.remaining) for each in left if each] == [
            (3, 1.5, 2),
            (3, 1.5, 1),
            (3, 1.5, 0),
        ]
        assert [each.reset_s for each in left if each] == pytest.approx([0.5, 1.0, 1.5])
        with pytest.raises(LimitExceeded) as caught:
            await limiter.acquire("ada")
        assert caught.value.allowance == left[-1]
        clock.now += 0.5
        again = await limiter.acquire("ada")
        assert again is not None
        assert again.remaining == 0

    @pytest.mark.parametrize("rate", [0.3, 1.5, 3.0, 7.0, 333.0])
    async def test_as_many_pass_as_are_said_to_be_left(self, rate: float) -> None:
        limiter = self.make_limiter(rate, 20, Clock())
        left = await limiter.acquire("ada")
        assert left is not None
        for remaining in range(left.remaining - 1, -1, -1):
            left = await limiter.acquire("ada")
            assert left is not None
            assert left.remaining == remaining
        with pytest.raises(LimitExceeded):
            await limiter.acquire("ada")

    async def test_without_a_rate_every_request_passes(self) -> None:
        limiter = self.make_limiter(None, 1, Clock())
        for _ in range(100):
            assert await limiter.acquire("ada", 1000) is None
