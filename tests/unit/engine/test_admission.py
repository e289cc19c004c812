import contextlib
import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.simulated import Clock, Simulation, batch, bounds, output, result

from headrace.engine.admission import UNBOUNDED, Admission, Bounds
from headrace.engine.base import Job
from headrace.engine.lengths import size_bytes
from headrace.engine.shares import Load
from headrace.errors import QueueFull, RequestTooLarge

WAIT_S = 0.5


def job(*texts: str, deadline: float = math.inf, tenant: str = "") -> Job:
    return Job(texts=texts, truncate="truncate", deadline=deadline, tenant=tenant)


def simulation(**options: float) -> Simulation:
    clock = Clock()
    return Simulation(Admission("m", bounds(**{"max_wait_s": WAIT_S, **options}), clock), clock)


def saturate(it: Simulation, seconds: float = 5, texts: int = 1) -> None:
    """Offer three times the capacity, so that the rate is known."""
    it.offer(3 * it.tokens_per_s / (60 * texts), seconds, texts, random.Random(0))


class Machine(RuleBasedStateMachine):
    """Whatever comes, leaves, is computed or is told wrongly: what is inside is what came and has not left."""

    @initialize(
        max_texts=st.integers(1, 20), max_bytes=st.integers(1024, 4096), max_wait_s=st.sampled_from([1e-3, 0.5, 3600])
    )
    def start(self, max_texts: int, max_bytes: int, max_wait_s: float) -> None:
        self.clock = Clock()
        self.bounds = Bounds(max_texts=max_texts, max_bytes=max_bytes, max_wait_s=max_wait_s)
        self.admission = Admission("m", self.bounds, self.clock)
        self.inside: list[tuple[Job, contextlib.ExitStack]] = []
        self.refusals: list[QueueFull] = []

    @rule(
        texts=st.lists(st.text(max_size=400), min_size=1, max_size=25),
        seconds=st.sampled_from([-1, 0.1, 30]),
        tenant=st.sampled_from(["", "a", "b"]),
    )
    def come(self, texts: list[str], seconds: float, tenant: str) -> None:
        asked = job(*texts, deadline=self.clock.now + seconds, tenant=tenant)
        was_full = self.admission.retry_after_s(tenant=tenant)
        with contextlib.ExitStack() as entry:
            try:
                entry.enter_context(self.admission.let_in(asked))
            except RequestTooLarge:
                assert len(texts) > self.bounds.max_texts or self.size(asked) > self.bounds.max_bytes
                return
            except QueueFull as refused:
                self.refusals.append(refused)
                return
            assert was_full is None
            self.inside.append((asked, entry.pop_all()))

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), is_answered=st.booleans(), tokens=st.integers(0, 5000))
    def leave(self, data: st.DataObject, is_answered: bool, tokens: int) -> None:
        asked, entry = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        entry.close()
        if is_answered:
            self.admission.learn(asked, result(*(output(tokens, truncated=tokens == 512) for _ in asked.texts)))

    @rule(tokens=st.integers(0, 100_000))
    def compute(self, tokens: int) -> None:
        self.admission.count(batch(tokens))

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def nothing_is_lost_or_made_up(self) -> None:
        assert self.admission.texts == sum(len(asked.texts) for asked, _ in self.inside) <= self.bounds.max_texts
        assert (
            self.admission._shares.all.size_bytes
            == sum(self.size(asked) for asked, _ in self.inside)
            <= self.bounds.max_bytes
        )
        assert self.admission._shares.all.tokens == sum(permit.tokens for permit in self.admission._inside)
        assert 0 <= self.admission._done <= self.admission._shares.all.tokens
        assert self.admission._shares._own.keys() == {asked.tenant for asked, _ in self.inside}
        assert math.isfinite(self.admission.wait_s)
        assert self.admission._rate.tokens_per_s > 0

    @invariant()
    def only_who_has_something_to_do_refuses_and_says_when_to_come_back(self) -> None:
        if self.refusals:
            assert self.inside
            assert all((refusal.retry_after_s or 0) > 0 for refusal in self.refusals)
            self.refusals.clear()

    @invariant()
    def who_has_nothing_to_do_lets_in(self) -> None:
        if not self.inside:
            assert self.admission.wait_s == 0
            assert self.admission.retry_after_s() is None

    @staticmethod
    def size(asked: Job) -> int:
        return sum(map(size_bytes, asked.texts))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=30)


@pytest.mark.parametrize("factor", [1, 2, 5, 10])
@pytest.mark.parametrize("texts", [1, 32])
def test_under_overload_the_engine_is_busy_and_nobody_waits_long(factor: int, texts: int):
    it = simulation()
    saturate(it)
    since = it.clock.now
    it.offer(factor * it.tokens_per_s / (60 * texts), 10, texts, random.Random(1))
    full_batches = 1024 / (1024 / it.tokens_per_s + it.batch_s)
    assert it.rate(since) > (0.95 if factor > 1 else 0.7) * full_batches
    # A job waits for what is ahead of it, then for itself: 32 texts are some 2,000 tokens, 0.2 s.
    assert it.longest(since) < 1.0


def test_without_overload_nobody_is_refused():
    it = simulation()
    saturate(it)
    refused = it.refused
    it.advance(it.clock.now + 5)
    it.offer(0.5 * it.tokens_per_s / 60, 20, 1, random.Random(1))
    assert it.refused == refused


@pytest.mark.parametrize("factor", [0.1, 10])
def test_the_bound_follows_a_rate_that_changes(factor: float):
    it = simulation()
    saturate(it)
    it.tokens_per_s *= factor
    it.batch_s /= factor
    saturate(it, seconds=8)
    actual = 1024 / (1024 / it.tokens_per_s + it.batch_s)
    assert it.admission._rate.tokens_per_s == pytest.approx(actual, rel=0.25)
    since = it.clock.now
    saturate(it, seconds=5)
    assert it.rate(since) > 0.93 * actual
    assert it.longest(since) < 3.5  # at a tenth of the speed a batch is a second, and 32 texts may wait two


def test_a_quiet_time_does_not_make_a_burst_be_refused():
    it = simulation()
    saturate(it)
    it.offer(2, 60, 1, random.Random(1))
    it.advance(it.clock.now + 60)
    taken = sum(it.ask(("x" * 160,), [40]) for _ in range(500))
    assert 0.7 * WAIT_S < taken * 40 / it.tokens_per_s < 1.3 * WAIT_S


def test_a_lone_text_that_is_held_up_does_not_pass_for_a_slow_engine():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    known = it.admission._rate.tokens_per_s
    for _ in range(10):
        with it.admission.let_in(job("x" * 160)):
            it.clock.now += 1
            it.admission.count(batch(40))
    assert it.admission._rate.tokens_per_s == known


def test_a_time_in_which_nothing_runs_does_not_pass_for_a_slow_engine():
    it = simulation()
    saturate(it)
    known = it.admission._rate.tokens_per_s
    it.clock.now += 60
    it.admission.resume()
    it._done_at = it.clock.now + 0.1
    it.advance(it.clock.now + 1)
    assert it.admission._rate.tokens_per_s > 0.8 * known


def test_before_anything_was_measured_the_first_are_let_in_but_not_all():
    it = simulation()
    taken = sum(it.ask(("x" * 160,), [40]) for _ in range(2000))
    assert 200 < taken < 300


def test_facts_that_come_late_and_together_do_not_pass_for_speed():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    text = "x" * 12_000
    with it.admission.let_in(job(text)):
        before_s = it.admission.wait_s
    for _ in range(20):
        with it.admission.let_in(job(text)):
            it.clock.now += 0.3
            for _ in range(3):
                it.admission.count(batch(1000, run_s=0.1))
                it.clock.now += 1e-5
        it.clock.now += 1
    with it.admission.let_in(job(text)):
        assert it.admission.wait_s > 0.8 * before_s


def test_a_first_batch_that_is_slow_does_not_count_as_the_rate():
    it = simulation()
    it.tokens_per_s /= 5
    it.ask(("x" * 2000,), [256])
    it.advance(it.clock.now + 1)
    it.tokens_per_s *= 5
    assert sum(it.ask(("x" * 160,), [40]) for _ in range(500)) > 64


def test_after_an_overload_everybody_is_let_in_within_seconds():
    it = simulation()
    it.offer(10 * it.tokens_per_s / 60, 10, 1, random.Random(0))
    it.advance(it.clock.now + 1)
    assert not it.inside
    refused = it.refused
    it.offer(0.5 * it.tokens_per_s / 60, 10, 1, random.Random(1))
    assert it.refused == refused


def test_a_large_request_on_an_idle_engine_is_let_in_and_its_progress_counts():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    assert it.ask(("x" * 160,) * 256, [40] * 256)
    for _ in range(3):  # up to four jobs wait for each other however long it takes
        assert it.ask(("x",), [3])
    assert not it.ask(("x",), [3])
    it.advance(it.clock.now + 0.8)  # of a second of work
    assert it.inside
    assert it.ask(("x",), [3])


def test_a_slow_batch_counts_as_far_as_it_should_be():
    it = simulation(max_wait_s=10.0)
    it.tokens_per_s = 100.0
    saturate(it, seconds=60)
    it.advance(it.clock.now + 60)
    small = ("x" * 80,), [20]
    for _ in range(5):  # the first one has a batch of its own; from then on all that wait are the next batch
        while it.ask(*small):
            pass
        it.advance(max(it.clock.now, it._done_at))
    while it.ask(*small):
        pass
    over_s = it.admission.wait_s - 10.0
    assert 0 < over_s < it._done_at - it.clock.now  # room comes before the batch is done
    it.advance(it.clock.now + 0.9 * over_s)
    assert not it.ask(*small)
    it.advance(it.clock.now + 0.2 * over_s)
    assert it.ask(*small)


@pytest.mark.parametrize(("clients", "is_refused"), [(32, False), (64, True)])
def test_clients_with_one_text_each_are_not_refused_when_long_ones_gather(clients: int, is_refused: bool):
    it = simulation()
    it.tokens_per_s = 3_000.0  # 32 texts of the whole window are 2.7 s of work
    for _ in range(50):
        while len(it.inside) < clients and it.ask(("x" * 1200,), [256]):
            pass
        it.advance(it.clock.now + 0.25)
    assert bool(it.refused) is is_refused


@pytest.mark.parametrize(("clients", "is_refused"), [(4, False), (32, True)])
def test_a_few_clients_that_wait_for_their_answers_are_never_refused(clients: int, is_refused: bool):
    it = simulation()
    it.tokens_per_s = 1000.0  # 32 texts are two seconds of work
    for _ in range(50):
        while len(it.inside) < clients and it.ask(("x" * 240,) * 32, [60] * 32):
            pass
        it.advance(it.clock.now + 1)
    assert (it.refused > 0) is is_refused


def test_a_batch_that_hangs_lets_nobody_in():
    it = simulation()
    saturate(it)
    it.tokens_per_s = 1e-3
    it.advance(it.clock.now + 1000)
    while it.ask(("x" * 160,), [40]):
        pass
    it.advance(it.clock.now + 1000)
    assert it.admission.retry_after_s() is not None


def test_whose_deadline_would_pass_first_is_refused_at_once():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    for _ in range(75):
        it.ask(("x" * 160,), [40])
    assert 0.2 < it.admission.wait_s < WAIT_S
    with (
        pytest.raises(QueueFull, match=r"the deadline is in 0\.1 s") as refused,
        it.admission.let_in(job("x", deadline=it.clock.now + 0.1)),
    ):
        pass
    own_s = 3 / it.admission.tokens_per_s
    needed_s = 1.25 * (it.admission.wait_s + own_s)
    assert refused.value.retry_after_s == pytest.approx(min(needed_s - 0.1, it.admission.wait_s))
    with it.admission.let_in(job("x", deadline=it.clock.now + WAIT_S)):
        pass
    with it.admission.let_in(job("x", deadline=it.clock.now - 1)):  # the batcher says that it is too late
        pass


def test_a_job_that_would_be_begun_in_time_but_not_done_is_refused_unless_nothing_is_ahead_of_it():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    large = ["x" * 160] * 75  # some 0.3 s of work
    with it.admission.let_in(job(*large, deadline=it.clock.now + 0.1)):  # alone: it may try
        assert it.admission.wait_s > 0.2
        in_time = it.clock.now + 2.6 * it.admission.wait_s  # twice, and the margin
        with it.admission.let_in(job(*large, deadline=in_time)):
            pass
        too_soon = it.clock.now + 2.4 * it.admission.wait_s
        with pytest.raises(QueueFull, match="send less at once") as refused:
            it.admission.let_in(job(*large, deadline=too_soon)).__enter__()
        assert refused.value.retry_after_s == pytest.approx(0.1 * it.admission.wait_s)
        # One that takes longer than it has waits until nothing is ahead of it.
        with pytest.raises(QueueFull) as refused:
            it.admission.let_in(job(*large, deadline=it.clock.now + 0.01)).__enter__()
        assert refused.value.retry_after_s == pytest.approx(it.admission.wait_s)


def test_answers_that_are_wanted_in_a_second_are_there_in_a_second_however_many_ask():
    longest, rates = {}, {}
    for wanted_s in (1.0, 30.0):
        it = simulation()
        saturate(it, texts=32)
        it.tokens_per_s /= 2.5  # so that the few jobs that are always let in are more than a second of work
        saturate(it, texts=32, seconds=10)
        since = it.clock.now
        it.offer(10 * it.tokens_per_s / (60 * 32), 10, 32, random.Random(1), wanted_s=wanted_s)
        longest[wanted_s], rates[wanted_s] = it.longest(since), it.rate(since)
    assert longest[1.0] < 1.0
    assert longest[30.0] > 1.6
    assert rates[1.0] > 0.98 * rates[30.0]


@pytest.mark.parametrize(
    ("text", "tokens"), [(" " * 30_000, 2), ("水" * 300, 256), ("🌊" * 60, 180), ("a " * 100, 202), ("", 2)]
)
def test_texts_unlike_the_ones_before_are_soon_guessed_right(text: str, tokens: int):
    it = simulation()
    saturate(it)
    choose = random.Random(2)
    since = it.clock.now
    for _ in range(40_000 // tokens):
        it.advance(it.clock.now + choose.expovariate(3 * it.tokens_per_s / tokens))
        it.ask((text,), [tokens])
    assert it.rate(since) > 0.85 * it.tokens_per_s
    assert it.longest(since) < 1.5
    it.advance(it.clock.now + 5)
    assert it.admission._shares.all == Load()


@settings(max_examples=20)
@given(st.lists(st.booleans(), max_size=100), st.integers(0, 5000))
def test_callers_who_leave_do_not_look_like_speed(leaves: list[bool], tokens: int):
    """Their texts may be computed all the same, and nobody is inside any more to have them counted."""
    it = simulation()
    saturate(it, seconds=2)
    known = it.admission._rate.tokens_per_s
    it.advance(it.clock.now + 5)
    for is_left in leaves:
        with it.admission.let_in(job("x" * 40)):
            it.clock.now += 0.01
            if is_left:
                it.admission.count(batch(tokens))
    assert it.admission._rate.tokens_per_s <= known


def test_who_is_refused_hears_when_to_come_back():
    it = simulation()
    saturate(it)
    while it.ask(("x" * 160,), [40]):
        pass
    retry_after_s = it.admission.retry_after_s()
    assert retry_after_s is not None
    it.advance(it.clock.now + retry_after_s + 0.15)  # and a batch
    assert it.admission.retry_after_s() is None


def test_who_is_on_the_way_counts_like_the_usual_job():
    it = simulation()
    saturate(it)
    it.advance(it.clock.now + 5)
    usual, large = it.admission._job_tokens, 1 << 20
    fitting = int(WAIT_S * it.admission._rate.tokens_per_s / usual)
    assert it.admission.retry_after_s(0, 0) is None
    assert it.admission.retry_after_s(fitting, large) is None
    assert it.admission.retry_after_s(fitting + 1, large) is not None
    assert it.admission.retry_after_s() is None


def test_a_burst_of_small_jobs_after_large_ones_is_no_overload():
    it = simulation()
    saturate(it, texts=32)
    it.advance(it.clock.now + 5)
    assert 32 * it.admission._job_tokens > 4 * WAIT_S * it.admission._rate.tokens_per_s
    assert it.admission.retry_after_s(32, 32 * 100) is None
    assert it.admission.retry_after_s(32, 32 * 10_000) is not None


def test_texts_are_bounded_whatever_the_wait():
    admission = Admission("m", bounds(max_queued_texts=10, max_wait_s=3600))
    with admission.let_in(job(*["a"] * 8)):
        with pytest.raises(QueueFull, match=r"8 texts .* wait for 'm'") as refused, admission.let_in(job(*"abc")):
            pass
        assert refused.value.retry_after_s is not None
        with admission.let_in(job("a", "b")):
            assert admission.texts == 10
            assert admission.retry_after_s() is not None
        assert admission.retry_after_s() is None
    assert admission.texts == 0


def test_bytes_are_bounded_whatever_the_wait():
    admission = Admission("m", bounds(max_queued_bytes=1024, max_wait_s=3600))
    with admission.let_in(job("水" * 300)):
        with pytest.raises(QueueFull), admission.let_in(job("a" * 125)):
            pass
        with admission.let_in(job("a" * 124)):
            assert admission.retry_after_s() is not None


def test_what_never_fits_is_told_to_be_smaller():
    admission = Admission("m", bounds(max_queued_texts=10, max_queued_bytes=1024))
    with pytest.raises(RequestTooLarge, match="11 texts"), admission.let_in(job(*"abcdefghijk")):
        pass
    with pytest.raises(RequestTooLarge, match="1026 bytes"), admission.let_in(job("é" * 513)):
        pass


def test_an_engine_behind_a_supervisor_refuses_nothing():
    admission = Admission("m", UNBOUNDED)
    with contextlib.ExitStack() as entries:
        for _ in range(3):
            entries.enter_context(admission.let_in(job(*["a" * 1000] * 3000, deadline=time.monotonic() + 3600)))
            admission.count(batch(1))
        assert admission.retry_after_s() is None
        assert admission.texts == 9000


def test_a_job_without_texts_takes_no_room():
    admission = Admission("m", bounds(max_queued_texts=1))
    with admission.let_in(job()):
        assert admission.retry_after_s(0) is None
        assert admission.retry_after_s(1) is not None


def test_a_job_that_fails_leaves_as_well():
    admission = Admission("m", bounds())
    with pytest.raises(ZeroDivisionError), admission.let_in(job("a")):
        raise ZeroDivisionError
    assert admission.texts == 0
