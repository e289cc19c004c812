from bench.chaos.shadow import promise


def test_a_shadow_that_stands_in_the_way_breaks_its_promise() -> None:
    assert promise([1.0, 0.9, 1.3]).is_kept
    assert not promise([1.0, 1.1, 1.3]).is_kept


def test_how_sure_it_is_is_told() -> None:
    found = promise([0.9, 1.0, 1.1] * 5)
    assert 0.9 <= found.values["p99_ratio_low"] <= 1.0 <= found.values["p99_ratio_high"] <= 1.1
    assert found.values["pairs"] == 15
    assert "1.00 times as long (95 % interval of this median 0.9" in found.measured
