from bench.chaos.promise import Promise, promise_table


def test_a_broken_promise_stands_out_in_the_table() -> None:
    promises = [Promise("p", "all answered", "10 of 10", True), Promise("p", "none late", "3 late", False)]
    assert promise_table(promises) == [
        "| Promise | Measured | Kept |",
        "| --- | ---: | ---: |",
        "| all answered | 10 of 10 | yes |",
        "| none late | 3 late | **NO** |",
    ]
