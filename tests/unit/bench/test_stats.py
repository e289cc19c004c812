import math

import numpy as np
import pytest
from bench.stats import Slope, Spread, median_interval, percentile, ratios, slope, spread


def test_a_spread_is_the_median_with_the_least_and_the_greatest() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(median=2.5, low=1.0, high=10.0, count=4)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_a_spread_of_nothing_or_of_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        spread(values)


def test_a_ratio_is_taken_within_each_round_before_the_median() -> None:
    # The medians are 20 and 10, but whenever ours was fast theirs was faster still.
    assert ratios([10.0, 20.0, 90.0], [10.0, 5.0, 45.0]) == Spread(median=2.0, low=1.0, high=4.0, count=3)


def test_ratios_of_different_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0), (0.01, 1.0)]
)
def test_a_percentile_is_a_value_that_was_seen(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_or_outside_the_range_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def noise(count: int, seed: int) -> list[float]:
    """Return noise in which each value is near the one before, as memory samples are."""
    chooser = np.random.default_rng(seed)
    values = [0.0]
    for step in chooser.normal(size=count - 1):
        values.append(0.5 * values[-1] + float(step))
    return values


def test_a_slope_is_found_in_noise_and_its_interval_holds_it() -> None:
    times = [float(second) for second in range(300)]
    found = slope(times, [5 + 0.1 * time + wobble for time, wobble in zip(times, noise(300, 1), strict=True)])
    assert found.low < 0.1 < found.high
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert not found.is_flat


def test_noise_alone_has_no_slope_most_of_the_time() -> None:
    times = [float(second) for second in range(100)]
    flat = [slope(times, noise(100, seed)).is_flat for seed in range(20)]
    assert sum(flat) >= 16


def test_a_slope_is_the_same_every_time() -> None:
    times, values = [float(second) for second in range(20)], noise(20, 3)
    assert slope(times, values) == slope(times, values)


@pytest.mark.parametrize(("times", "values"), [([1.0] * 7, [1.0] * 7), ([1.0] * 9, [1.0] * 8)])
def test_a_slope_of_too_little_is_refused(times: list[float], values: list[float]) -> None:
    with pytest.raises(ValueError, match="8 pairs"):
        slope(times, values)


@pytest.mark.parametrize(("low", "high", "is_flat"), [(-1.0, 1.0, True), (0.0, 1.0, True), (0.1, 1.0, False)])
def test_a_slope_is_flat_if_its_interval_holds_zero(low: float, high: float, is_flat: bool) -> None:
    assert Slope(0.5, low, high).is_flat is is_flat


def test_the_interval_of_a_median_narrows_with_more_rounds():
    few, many = ([1.0, 1.2, 0.8, 1.1, 0.9] * count for count in (1, 40))
    low, high = median_interval(few)
    assert (low, high) == (0.8, 1.2)
    assert low <= median_interval(many)[0] <= 1.0 <= median_interval(many)[1] < high
    assert median_interval([2.0]) == (2.0, 2.0)
    with pytest.raises(ValueError, match="needs values"):
        median_interval([])
