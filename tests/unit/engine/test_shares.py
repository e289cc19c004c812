"""Tenants at one engine in simulated time, with the real admission and the real queue."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from tests.support.simulated import BATCH_TOKENS, Clock, batch, bounds, output, result

from headrace.engine.admission import Admission
from headrace.engine.base import Encoding, Job, Output
from headrace.engine.batcher import Batcher, Waiting
from headrace.engine.shares import Shares
from headrace.errors import QueueFull

LOOP = asyncio.new_event_loop()
TOKENS_PER_S = 10_000.0
BATCH_S = 0.002
WAIT_S = 0.5
TEXT = "x" * 240  # 60 tokens, as the admission guesses before it knows better
TOKENS = 60
PER_S = TOKENS_PER_S / TOKENS  # as many texts as are computed


@pytest.fixture(autouse=True, scope="module")
def _close_loop() -> Iterator[None]:
    yield
    LOOP.close()


@dataclass
class Engine:
    """One session that computes what the queue gives it."""

    clock: Clock = field(default_factory=Clock)
    admission: Admission = field(init=False)
    queue: Batcher = field(default_factory=lambda: Batcher(BATCH_TOKENS, has_padding=False))
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    most_inside_s: float = 0.0
    _entries: dict[int, contextlib.ExitStack] = field(default_factory=dict)
    _running: list[Waiting] = field(default_factory=list)
    _done_at: float = 0.0

    def __post_init__(self) -> None:
        self.admission = Admission("m", bounds(max_wait_s=WAIT_S), self.clock)

    def offer(self, loads: Mapping[str, float], seconds: float) -> None:
        """Let tenants ask at random times, each so many times what can be computed."""
        choose, end, start = random.Random(0), self.clock.now + seconds, self.clock.now
        arrivals = []
        for tenant, load in loads.items():
            at = start
            while (at := at + choose.expovariate(load * PER_S)) < end:
                arrivals.append((at, tenant))
        for at, tenant in sorted(arrivals):
            self.advance(at)
            self.ask(tenant)
        self.advance(end)

    def ask(self, tenant: str) -> None:
        now = self.clock.now
        job = Job(texts=(TEXT,), truncate="truncate", deadline=now + 30, tenant=tenant)
        with contextlib.ExitStack() as entry:
            try:
                entry.enter_context(self.admission.let_in(job))
            except QueueFull:
                self.refused[tenant] += 1
                return
            encoding = Encoding(ids=range(TOKENS), weight=TOKENS, truncated=False)
            future: asyncio.Future[Output] = LOOP.create_future()
            waiting = Waiting(
                encoding=encoding, deadline=now + 30, due=now, queued_at=now, future=future, tenant=tenant
            )
            self._entries[id(waiting)] = entry.pop_all()
            self.queue.put(waiting)
        self.most_inside_s = max(self.most_inside_s, self.admission.texts * TOKENS / TOKENS_PER_S)
        if not self._running:
            self._start()

    def advance(self, until: float) -> None:
        while self._running and self._done_at <= until:
            self.clock.now = self._done_at
            self._finish()
        self.clock.now = until

    def _start(self) -> None:
        self._running = self.queue.take()
        tokens = sum(waiting.tokens for waiting in self._running)
        self._done_at = self.clock.now + BATCH_S + tokens / TOKENS_PER_S

    def _finish(self) -> None:
        self.admission.count(batch(sum(waiting.tokens for waiting in self._running)))
        for waiting in self._running:
            self._entries.pop(id(waiting)).close()
            job = Job(texts=(TEXT,), truncate="truncate", deadline=0.0)
            self.admission.learn(job, result(output(TOKENS)))
            self.waits[waiting.tenant].append(self.clock.now - waiting.queued_at)
        self._running = []
        if len(self.queue):
            self._start()

    def share(self, tenant: str) -> float:
        """Return which part of the answers was a tenant's."""
        return len(self.waits[tenant]) / sum(map(len, self.waits.values()))


def settled(tenant: str = "many") -> Engine:
    """An engine that knows its speed."""
    it = Engine()
    it.offer({tenant: 3.0}, 5)
    it.advance(it.clock.now + 5)
    it.waits.clear()
    it.refused.clear()
    it.most_inside_s = 0.0
    return it


@pytest.mark.parametrize("flood", [2.0, 10.0])
def test_who_asks_for_less_than_its_share_is_never_refused_and_does_not_wait(flood: float):
    it = settled()
    it.offer({"many": flood, "few": 0.2}, 20)
    assert it.refused["few"] == 0
    assert it.refused["many"] > 0
    few = sorted(it.waits["few"])
    # Two batches: the one that runs, and its own.
    assert few[int(0.99 * len(few))] < 2.5 * (BATCH_S + BATCH_TOKENS / TOKENS_PER_S)
    assert sum(map(len, it.waits.values())) > 0.9 * 20 * PER_S  # and the engine never rests


def test_who_comes_once_in_a_while_is_let_in_before_it_is_known():
    it = settled()
    for number in range(20):
        it.offer({"many": 10.0}, 0.5)
        it.ask(f"new-{number}")
    it.advance(it.clock.now + 2)
    assert set(it.refused) == {"many"}


@pytest.mark.parametrize("loads", [(10.0, 2.0), (10.0, 1.0, 1.0), (5.0, 5.0, 5.0, 5.0)])
def test_tenants_that_all_want_more_get_the_same(loads: tuple[float, ...]):
    it = settled()
    tenants = {f"t{number}": load for number, load in enumerate(loads)}
    it.offer(tenants, 30)
    for tenant in tenants:
        assert it.share(tenant) == pytest.approx(1 / len(loads), rel=0.1)
    assert it.most_inside_s < 3 * WAIT_S


def test_one_tenant_alone_is_treated_as_if_there_were_none():
    named, unnamed = settled(), settled("")
    named.offer({"many": 5.0}, 10)
    unnamed.offer({"": 5.0}, 10)
    assert named.refused["many"] == unnamed.refused[""]
    assert named.waits["many"] == unnamed.waits[""]


@dataclass
class Wanted:
    tenant: str
    texts: int
    size_bytes: int = 1
    tokens: int = 1


def test_a_tenant_leaves_room_for_others_as_soon_as_there_are_others():
    shares = Shares()
    shares.add(Wanted("a", 90))
    assert shares.over_room(Wanted("a", 10), 10, 100) == 0  # it is alone
    assert shares.over_room(Wanted("b", 1), 10, 100) == 0  # whoever asks is known from then on
    over = shares.over_room(Wanted("a", 1), 10, 100)
    assert 90 - 90 * over + 1 == pytest.approx(2 * (10 + 90 * over))
    shares.add(Wanted("b", 1))
    assert shares.over_room(Wanted("b", 9), 9, 100) == 0
    assert shares.over_room(Wanted("c", 9), 9, 100) == 0
    assert shares.over_room(Wanted("b", 1, 300), 9, 100) > 0


def test_in_turns_a_tenant_waits_for_its_own_and_as_much_of_each_other():
    shares = Shares()
    assert shares.tokens_ahead("a", 5) == 5
    shares.add(Wanted("a", 1, tokens=100))
    assert shares.tokens_ahead("a", 5) == 105
    assert shares.tokens_ahead("b", 5) == 10
    shares.add(Wanted("b", 1, tokens=10))
    assert shares.tokens_ahead("b", 5) == 30
    shares.remove(Wanted("a", 1, tokens=100))
    assert shares.tokens_ahead("b", 5) == 15
