import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.training import batches
from headrace.training.batches import Order, Update, count_updates, cut, in_order

LENGTHS = st.lists(st.integers(0, 300), min_size=1, max_size=40)


def cost(parts: tuple[np.ndarray, ...], lengths: np.ndarray) -> float:
    return sum(len(part) * max(1, int(lengths[part].max())) + batches._BATCH_COST for part in parts)


@given(LENGTHS, st.integers(1, 2000))
def test_a_cut_has_every_row_once_and_keeps_to_the_budget(lengths: list[int], budget: int):
    sizes = np.asarray(lengths, dtype=np.int64)
    parts = cut(np.arange(len(sizes))[::-1], sizes, budget)
    assert sorted(np.concatenate(parts)) == list(range(len(sizes)))
    assert all(len(part) == 1 or len(part) * sizes[part].max() <= budget for part in parts)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=9), st.sampled_from([64, 300, 5000]))
def test_no_other_cut_costs_less(lengths: list[int], budget: int):
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    places = itertools.chain.from_iterable(
        itertools.combinations(range(1, len(sizes)), count) for count in range(len(sizes))
    )
    every = [tuple(np.split(order, list(at))) for at in places]
    allowed = [
        parts for parts in every if all(len(part) == 1 or len(part) * sizes[part].max() <= budget for part in parts)
    ]
    best = min(cost(parts, sizes) for parts in allowed)
    assert cost(cut(np.arange(len(sizes)), sizes, budget), sizes) == best


def updates(lengths: Sequence[int], *, start: int = 0, **numbers: int) -> list[Update]:
    order = Order(**{"rows": 7, "pool": 2, "token_budget": 256, "epochs": 2, "seed": 3, **numbers})
    return list(order.updates(lengths, start))


@given(LENGTHS, st.integers(1, 50), st.integers(1, 4), st.integers(1, 3))
def test_every_epoch_has_every_row_once(lengths: list[int], rows: int, pool: int, epochs: int):
    done = updates(lengths, rows=rows, pool=pool, epochs=epochs)
    assert [update.number for update in done] == list(range(epochs * count_updates(len(lengths), rows)))
    for epoch in range(epochs):
        of_epoch = [update for update in done if update.epoch == epoch]
        assert sorted(np.concatenate([update.rows for update in of_epoch])) == list(range(len(lengths)))
        assert all(len(update.rows) == rows for update in of_epoch[:-1])
        assert [update.ends_epoch for update in of_epoch] == [False] * (len(of_epoch) - 1) + [True]
        assert all(sorted(update.rows) == sorted(np.concatenate(update.batches)) for update in of_epoch)


@pytest.mark.parametrize("start", [1, 4, 5, 9])
def test_going_on_gives_what_would_have_come(start: int):
    whole, rest = updates(range(1, 34)), updates(range(1, 34), start=start)
    assert [list(update.rows) for update in rest] == [list(update.rows) for update in whole[start:]]


def test_the_seed_and_the_epoch_decide_the_order():
    def order(seed: int) -> list[list[int]]:
        return [list(update.rows) for update in updates([5] * 20, rows=20, seed=seed)]

    first, again, other = order(1), order(1), order(2)
    assert first == again
    assert first[0] != first[1]
    assert first != other


def test_rows_of_an_update_are_about_as_long_as_each_other():
    lengths = np.random.default_rng(0).integers(4, 100, 4000)

    def padding(pool: int) -> float:
        done = updates(list(lengths), rows=32, pool=pool, epochs=1)
        return sum(len(each.rows) * int(lengths[each.rows].max()) for each in done) / int(lengths.sum())

    assert padding(16) < 1.1
    assert padding(1) > 1.5
    lasting = [int(lengths[each.rows].max()) for each in updates(list(lengths), rows=32, pool=16, epochs=1)[:16]]
    assert lasting != sorted(lasting)  # the updates of a pool come in any order


def test_measuring_begins_with_the_longest():
    parts = in_order([3, 4096, 2000, 9000, 1])
    assert [list(part) for part in parts] == [[3], [1], [2, 0], [4]]
