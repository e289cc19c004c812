import itertools

import pytest
from bench.schedule import arrivals, chunks


def test_arrivals_come_at_the_rate_in_order_and_within_the_duration() -> None:
    times = arrivals(100.0, 50.0, seed=0)
    assert len(times) == pytest.approx(5000, rel=0.05)
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 50.0


def test_arrivals_are_as_irregular_as_independent_callers() -> None:
    times = arrivals(100.0, 50.0, seed=0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(1.0, abs=0.1)  # of an exponential distribution


def test_arrivals_depend_on_the_seed_alone() -> None:
    assert arrivals(10.0, 5.0, seed=1) == arrivals(10.0, 5.0, seed=1)
    assert arrivals(10.0, 5.0, seed=1) != arrivals(10.0, 5.0, seed=2)


@pytest.mark.parametrize(("rate", "duration"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_a_load_that_sends_nothing_is_refused(rate: float, duration: float) -> None:
    with pytest.raises(ValueError, match="over 0"):
        arrivals(rate, duration, seed=0)


def test_texts_are_cut_into_requests_and_none_is_lost() -> None:
    assert chunks(["a", "b", "c", "d", "e"], 2) == [["a", "b"], ["c", "d"], ["e"]]
