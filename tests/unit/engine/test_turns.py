"""Tenants that share a queue: who sends much takes nothing from who sends little."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.base import Encoding, Output
from headrace.engine.batcher import Batcher, Waiting

LOOP = asyncio.new_event_loop()
BUDGET = 512
LONGEST = 300


@pytest.fixture(autouse=True, scope="module")
def _close_loop() -> Iterator[None]:
    yield
    LOOP.close()


def text(tenant: str, tokens: int, due: float = 0.0) -> Waiting:
    future: asyncio.Future[Output] = LOOP.create_future()
    encoding = Encoding(ids=range(tokens), weight=tokens, truncated=False)
    return Waiting(encoding=encoding, deadline=1e9, due=due, queued_at=0.0, future=future, tenant=tenant)


def fill(batcher: Batcher, texts: list[Waiting]) -> None:
    for waiting in texts:
        batcher.put(waiting)


def count(given_to: Counter[str], batch: list[Waiting]) -> None:
    for waiting in batch:
        given_to[waiting.tenant] += waiting.tokens


# Of single tokens alone a batch is 512 texts to make: a tenant that sends such sends longer ones too.
LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=5).filter(lambda each: sum(each) >= 12 * len(each))
TENANTS = st.lists(LENGTHS, min_size=2, max_size=6)


@pytest.mark.parametrize("has_padding", [False, True])
@given(lengths=TENANTS)
def test_tenants_that_always_have_something_waiting_get_the_same(*, has_padding: bool, lengths: list[list[int]]):
    batcher = Batcher(BUDGET, has_padding=has_padding)
    tenants = {f"t{number}": each for number, each in enumerate(lengths)}
    lengths_of = {tenant: itertools.cycle(each) for tenant, each in tenants.items()}
    kept: dict[str, int] = Counter()
    given_to: Counter[str] = Counter()
    for turn in range(60):
        for tenant, each in lengths_of.items():
            while kept[tenant] <= BUDGET:  # more than a batch of it waits all the time
                new = text(tenant, next(each), due=float(turn))
                batcher.put(new)
                kept[tenant] += new.tokens
        batch = batcher.take()
        count(given_to, batch)
        for waiting in batch:
            kept[waiting.tenant] -= waiting.tokens
        # A batch is of one kind, short or long, or of neighbours in length: it may be one tenant's alone.
        assert max(given_to[tenant] for tenant in tenants) - min(given_to[tenant] for tenant in tenants) <= (
            2 * BUDGET + 2 * LONGEST
        )


@given(flood=st.lists(st.integers(1, 127), min_size=50, max_size=200), own=st.integers(1, 127))
def test_who_comes_after_a_flood_is_in_the_next_batch(flood: list[int], own: int):
    batcher = Batcher(BUDGET, has_padding=False)
    fill(batcher, [text("many", tokens, due=0.0) for tokens in flood])
    batcher.take()
    late = text("few", own, due=99.0)
    batcher.put(late)
    assert late in batcher.take()


def test_nobody_is_paid_back_for_the_time_when_it_had_nothing_waiting():
    batcher = Batcher(BUDGET, has_padding=False)
    fill(batcher, [text("early", 64) for _ in range(100)])
    for _ in range(10):
        batcher.take()
    fill(batcher, [text("late", 64) for _ in range(100)])
    given_to: Counter[str] = Counter()
    for _ in range(10):
        count(given_to, batcher.take())
    assert abs(given_to["early"] - given_to["late"]) <= 128


def test_among_the_texts_of_a_tenant_the_first_that_is_due_comes_first():
    batcher = Batcher(20, has_padding=False)
    texts = [text(tenant, 10, due) for due in (3.0, 1.0, 2.0) for tenant in ("a", "b")]
    fill(batcher, texts)
    order = [(waiting.tenant, waiting.due) for _ in texts for waiting in batcher.take()]
    assert order == [("a", 1.0), ("b", 1.0), ("a", 2.0), ("b", 2.0), ("a", 3.0), ("b", 3.0)]


def test_tenants_that_are_gone_are_forgotten():
    batcher = Batcher(BUDGET, has_padding=False)
    stays = text("stays", 200, due=1e6)
    batcher.put(stays)
    for number in range(2000):
        passing = text(f"t{number}", 10)
        batcher.put(passing)
        if number % 3:
            batcher.discard(passing)
        elif passing not in (batch := batcher.take()):
            assert batch == [stays]
            stays = text("stays", 200, due=1e6)
            batcher.put(stays)
    assert len(batcher._accounts) < 300
    assert len(batcher._short._heap) < 300


def test_short_ones_stay_short_ones_however_many_left():
    batcher = Batcher(BUDGET, has_padding=False)
    fill(batcher, [text("a", 200) for _ in range(20)])
    for _ in range(3000):
        gone = text("a", 10)
        batcher.put(gone)
        batcher.discard(gone)
    batcher.put(text("a", 10))
    assert [waiting.tokens for waiting in batcher.take_short()] == [10]
    assert batcher.take_short() == []
