import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.base import Encoding, Output
from headrace.engine.batcher import Batcher, Waiting

LOOP = asyncio.new_event_loop()
LENGTHS = st.integers(min_value=1, max_value=300)


@pytest.fixture(autouse=True, scope="module")
def _close_loop():
    yield
    LOOP.close()


def text(tokens: int, deadline: float = 0.0, due: float | None = None) -> Waiting:
    future: asyncio.Future[Output] = LOOP.create_future()
    return Waiting(
        encoding=Encoding(ids=range(tokens), weight=tokens, truncated=False),
        deadline=deadline,
        due=deadline if due is None else due,
        queued_at=0.0,
        future=future,
    )


def fill(batcher: Batcher, texts: list[Waiting]) -> None:
    for waiting in texts:
        batcher.put(waiting)


def drain(batcher: Batcher) -> list[list[Waiting]]:
    batches = []
    while len(batcher):
        batches.append(batcher.take())
    return batches


def cost(batch: list[Waiting]) -> int:
    return len(batch) * max(waiting.tokens for waiting in batch)


@given(st.lists(st.tuples(LENGTHS, st.floats(0, 100)), max_size=80), st.integers(1, 1000))
def test_every_text_is_taken_once(shapes: list[tuple[int, float]], budget: int):
    batcher = Batcher(budget)
    texts = [text(tokens, deadline) for tokens, deadline in shapes]
    fill(batcher, texts)
    taken = [waiting for batch in drain(batcher) for waiting in batch]
    assert sorted(map(id, taken)) == sorted(map(id, texts))


@given(st.lists(LENGTHS, max_size=80), st.integers(1, 1000))
def test_a_batch_keeps_to_the_budget_unless_one_text_alone_is_over_it(lengths: list[int], budget: int):
    batcher = Batcher(budget)
    fill(batcher, [text(tokens) for tokens in lengths])
    assert all(cost(batch) <= budget or len(batch) == 1 for batch in drain(batcher))


@given(st.lists(LENGTHS, min_size=1, max_size=80))
def test_padding_never_makes_a_text_much_longer(lengths: list[int]):
    batcher = Batcher(10_000)
    fill(batcher, [text(tokens) for tokens in lengths])
    for batch in drain(batcher):
        longest = max(waiting.tokens for waiting in batch)
        assert all(longest <= waiting.tokens * 1.25 + 8 for waiting in batch)


@given(st.lists(st.tuples(LENGTHS, st.floats(0, 100)), min_size=1, max_size=80))
def test_the_text_that_is_due_first_is_always_in_the_next_batch(shapes: list[tuple[int, float]]):
    batcher = Batcher(500)
    waiting = [text(tokens, deadline) for tokens, deadline in shapes]
    fill(batcher, waiting)
    while waiting:
        batch = batcher.take()
        assert min(one.due for one in waiting) == min(one.due for one in batch)
        waiting = [one for one in waiting if one not in batch]


@given(st.lists(st.tuples(LENGTHS, st.booleans()), max_size=80), st.integers(1, 1000))
def test_texts_that_were_taken_back_leave_no_trace(shapes: list[tuple[int, bool]], budget: int):
    batcher, without = Batcher(budget), Batcher(budget)
    texts = [(text(tokens, deadline), left) for deadline, (tokens, left) in enumerate(shapes)]
    fill(batcher, [waiting for waiting, _ in texts])
    fill(without, [waiting for waiting, left in texts if not left])
    for waiting, left in texts:
        if left:
            batcher.discard(waiting)
            batcher.discard(waiting)
    assert drain(batcher) == drain(without)


@given(st.lists(st.tuples(LENGTHS, st.integers(0, 10)), max_size=80), st.integers(0, 10))
def test_late_texts_are_returned_once_and_never_taken(shapes: list[tuple[int, int]], now: int):
    batcher = Batcher(500)
    texts = [text(tokens, deadline) for tokens, deadline in shapes]
    fill(batcher, texts)
    late = batcher.expire(now)
    assert all(waiting.deadline <= now for waiting in late)
    assert batcher.expire(now) == []
    taken = [waiting for batch in drain(batcher) for waiting in batch]
    assert all(waiting.deadline > now for waiting in taken)
    assert sorted(map(id, [*late, *taken])) == sorted(map(id, texts))


def test_the_closest_lengths_go_together():
    batcher = Batcher(2000)
    fill(batcher, [text(tokens, deadline=1) for tokens in [100] * 40 + [75] * 40])
    fill(batcher, [text(100, deadline=0)])
    assert [waiting.tokens for waiting in batcher.take()] == [100] * 20


def test_texts_of_one_length_run_together_whatever_their_order():
    batcher = Batcher(400)
    fill(batcher, [text(tokens) for tokens in (10, 100, 10, 100, 10, 100)])
    assert sorted([waiting.tokens for waiting in batch] for batch in drain(batcher)) == [[10] * 3, [100] * 3]


def test_nothing_comes_from_an_empty_queue():
    assert Batcher(100).take() == []


def test_texts_that_left_with_a_neighbour_do_not_gather_in_the_orders():
    batcher = Batcher(1 << 20)
    for round_number in range(200):
        fill(batcher, [text(5, deadline=1e9 + number) for number in range(20)])
        fill(batcher, [text(5, deadline=round_number)])
        while len(batcher):
            batcher.take()
    assert len(batcher._by_deadline._heap) <= 1024 + 21
    assert len(batcher._short._heap) <= 1024 + 21


@given(st.lists(st.tuples(LENGTHS, st.integers(0, 20)), max_size=80), st.integers(1, 1000))
def test_without_padding_texts_go_when_they_are_due_short_ones_apart_from_long_ones(
    shapes: list[tuple[int, int]], budget: int
):
    batcher = Batcher(budget, has_padding=False)
    texts = [text(tokens, due=due) for tokens, due in shapes]
    fill(batcher, texts)
    batches = drain(batcher)
    firsts = [batch[0].due for batch in batches]
    assert firsts == sorted(firsts)
    for is_long, most in ((False, budget // 2), (True, budget)):
        own = [batch for batch in batches if batch[0].is_long is is_long]
        in_order = [waiting for waiting in texts if waiting.is_long is is_long]
        assert [waiting for batch in own for waiting in batch] == sorted(in_order, key=lambda waiting: waiting.due)
        for batch, following in itertools.pairwise(own):
            tokens = sum(waiting.tokens for waiting in batch)
            assert tokens <= most or len(batch) == 1
            assert tokens + following[0].tokens > most  # no room was left for the next one


@pytest.mark.parametrize("has_padding", [False, True])
@given(shapes=st.lists(st.tuples(LENGTHS, st.integers(0, 20), st.sampled_from(["stay", "leave"])), max_size=40))
def test_short_texts_are_counted_and_can_be_taken_alone(has_padding: bool, shapes: list[tuple[int, int, str]]):
    batcher = Batcher(400, has_padding=has_padding)
    texts = [(text(tokens, deadline=due + 10, due=due), what) for tokens, due, what in shapes]
    fill(batcher, [waiting for waiting, _ in texts])
    for waiting in [waiting for waiting, what in texts if what == "leave"]:
        batcher.discard(waiting)
    gone = [*batcher.expire(12), *batcher.take()]
    shorts = [waiting for waiting, what in texts if what == "stay" and not waiting.is_long and waiting not in gone]
    assert batcher.bell.count == len(shorts)
    taken: list[Waiting] = []
    while batch := batcher.take_short():
        taken += batch
    assert taken == sorted(shorts, key=lambda waiting: waiting.due)
    assert batcher.bell.count == 0
    assert all(waiting.is_long for batch in drain(batcher) for waiting in batch)


def test_a_deadline_is_kept_though_others_are_due_before():
    batcher = Batcher(100)
    fill(batcher, [text(10, deadline=50, due=1), text(10, deadline=5, due=3), text(10, deadline=50, due=2)])
    assert [waiting.due for waiting in batcher.expire(5)] == [3]
    assert [waiting.due for waiting in batcher.take()] == [1, 2]
