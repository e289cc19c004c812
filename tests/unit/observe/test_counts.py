import time
from dataclasses import replace

import pytest
from tests.support.facts import Recorder
from tests.support.services import CALLER

from headrace.observe.base import BatchFinished, QueueChanged, RequestFinished
from headrace.observe.counts import Counts, OfVersion, Times, VersionCounts
from headrace.types import Timings

TIMINGS = Timings(queue_s=0.001, tokenize_s=0.002, run_s=0.004, total_s=0.008)
REQUEST = RequestFinished(
    caller=CALLER,
    task="embed",
    model="minilm",
    outcome="ok",
    inputs=3,
    cached=1,
    tokens=9,
    timings=TIMINGS,
    revision="r1",
)
BATCH = BatchFinished(model="minilm", texts=4, tokens=12, padded_tokens=16, failed=0, run_s=0.5, revision="r1")


@pytest.fixture
def counts() -> VersionCounts:
    return VersionCounts()


def test_an_answer_is_counted_with_its_times(counts: VersionCounts):
    before = time.time_ns() // 1_000_000
    for _ in range(2):
        counts.observe(REQUEST)
    found = counts.read("minilm", "r1")
    assert (found.succeeded, found.queued) == (Times(2, 16_000_000), Times(2, 2_000_000))
    assert (found.tokenized, found.computed) == (Times(2, 4_000_000), Times(2, 8_000_000))
    assert before <= found.last_ms <= time.time_ns() // 1_000_000
    assert (found.failed, found.remembered) == (Times(), Times())


def test_what_was_remembered_took_no_batch(counts: VersionCounts):
    counts.observe(replace(REQUEST, cached=3, timings=Timings(total_s=0.001)))
    found = counts.read("minilm", "r1")
    assert (found.succeeded, found.remembered, found.computed) == (Times(1, 1_000_000), Times(1, 1_000_000), Times())


def test_what_another_request_computed_was_not_remembered(counts: VersionCounts):
    counts.observe(replace(REQUEST, cached=0, timings=Timings(total_s=0.001)))
    found = counts.read("minilm", "r1")
    assert (found.succeeded.count, found.remembered, found.computed) == (1, Times(), Times())


@pytest.mark.parametrize("outcome", ["queue.full", "caller.left", "internal.error"])
def test_what_was_not_answered_is_counted_apart(counts: VersionCounts, outcome: str):
    counts.observe(replace(REQUEST, outcome=outcome, timings=Timings(total_s=2)))
    assert counts.read("minilm", "r1") == Counts(failed=Times(1, 2_000_000_000))


def test_batches_are_counted_by_their_size(counts: VersionCounts):
    for batch in (BATCH, BATCH, replace(BATCH, texts=1, run_s=0.25), replace(BATCH, texts=2, failed=1)):
        counts.observe(batch)
    found = counts.read("minilm", "r1")
    assert (found.texts, found.batches) == (10, 4)
    assert found.sizes == {4: Times(2, 1_000_000_000), 1: Times(1, 250_000_000), 2: Times(1, 500_000_000)}


def test_a_batch_without_a_result_is_no_execution(counts: VersionCounts):
    counts.observe(replace(BATCH, texts=1, failed=1, run_s=0))
    assert counts.read("minilm", "r1") == Counts()


def test_large_batches_count_in_the_totals_alone(counts: VersionCounts):
    for size in (512, 513, 100_000):
        counts.observe(replace(BATCH, texts=size))
    found = counts.read("minilm", "r1")
    assert (found.batches, list(found.sizes)) == (3, [512])


def test_versions_are_counted_each_for_itself(counts: VersionCounts):
    counts.observe(BATCH)
    counts.observe(replace(BATCH, revision="r2", texts=1))
    counts.observe(replace(BATCH, model="minilm@shadow", revision="r3", texts=2))
    counts.observe(replace(BATCH, model="other", texts=3))
    asked = [("minilm", "r1"), ("minilm", "r2"), ("minilm", "r3"), ("other", "r1"), ("nothing", "r1")]
    assert [counts.read(*each).texts for each in asked] == [4, 1, 2, 3, 0]


def test_what_is_of_no_version_is_not_counted(counts: VersionCounts):
    for fact in (
        replace(REQUEST, model="", revision=""),
        replace(BATCH, revision=""),
        QueueChanged(model="minilm", waiting=1),
    ):
        counts.observe(fact)
    assert counts.read("minilm", "") == counts.read("", "") == Counts()


def test_what_was_read_counts_no_further(counts: VersionCounts):
    counts.observe(BATCH)
    found = counts.read("minilm", "r1")
    counts.observe(BATCH)
    assert (found.batches, found.sizes) == (1, {4: Times(1, 500_000_000)})


def test_versions_that_nothing_is_heard_of_are_forgotten(counts: VersionCounts):
    for number in range(300):
        counts.observe(BATCH)
        counts.observe(replace(BATCH, revision=str(number)))
    assert counts.read("minilm", "r1").batches == 300
    assert [counts.read("minilm", str(number)).batches for number in (0, 44, 45, 299)] == [0, 0, 1, 1]


def test_batches_are_told_with_the_version_and_all_else_as_it_is():
    recorder = Recorder()
    told = OfVersion("r2", recorder)
    queue = QueueChanged(model="minilm", waiting=1)
    told.observe(replace(BATCH, revision=""))
    told.observe(queue)
    assert recorder.facts == [replace(BATCH, revision="r2"), queue]
