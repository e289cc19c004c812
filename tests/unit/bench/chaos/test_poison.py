import random
from pathlib import Path

import numpy as np
import pytest
from bench.chaos import poison
from bench.chaos.engine import Stage, digests, embedding, make_job, running_faulty
from bench.chaos.poison import Tally, plan_batch, promises, run_poison
from tests.support.models import add_model

from headrace.engine.base import Output
from headrace.errors import EngineFailed, InputQuarantined, OutputInvalid
from headrace.models.store import LocalStore
from headrace.types import Window


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A small model, on which some of its words are faults."""
    texts = [f"w{number} w{number + 1}" for number in range(20)]
    markers = {"crash": "w60", "fail": "w61", "nan": "w62"}
    return Stage(add_model(LocalStore(tmp_path)).path, texts, long="w1 " * 20, markers=markers)


def output(value: float) -> Output:
    arrays = {"embedding": np.full(4, value, dtype=np.float32)}
    return Output(windows=(Window(arrays=arrays, tokens=3, weight=1),), truncated=False)


def test_poison_fails_alone_on_a_small_model(stage: Stage) -> None:
    found = run_poison(stage, batches=12, crash_every=12)
    assert [promise.is_kept for promise in found] == [True] * 3
    values = found[0].values
    assert values["batches"] == 12
    assert values["crash_texts"] == 1
    assert values["restarts"] == 2
    assert values["healthy"] >= 12 * 4


async def test_the_engine_fails_as_its_texts_say_and_writes_down_what_it_runs(stage: Stage) -> None:
    texts = ["w1", "w1 w61", "w1 w62", "w1 w60"]
    async with running_faulty(stage) as faulty:
        items = (await faulty.engine.run(make_job(texts))).items
        ran = [digest for _, run in faulty.runs() for digest in run]
    assert [type(item) for item in items] == [Output, EngineFailed, OutputInvalid, InputQuarantined]
    assert set(digests(stage.folder, texts)) <= set(ran)
    with pytest.raises(OutputInvalid):
        embedding(items[2])


def test_a_batch_has_four_to_eight_healthy_texts_and_one_to_four_poisoned(stage: Stage) -> None:
    chooser = random.Random(0)
    for number in range(200):
        plan = plan_batch(stage, chooser, number, has_crash=number % 10 == 0)
        kinds = [kind for _, kind in plan if kind]
        assert 4 <= len(plan) - len(kinds) <= 8
        assert 1 <= len(kinds) <= 4
        assert kinds.count("crash") == (number % 10 == 0)


def test_one_healthy_text_that_fails_breaks_the_promise() -> None:
    tally = Tally()
    tally.take_healthy(output(1.0), np.ones(4, dtype=np.float32))
    assert promises(tally, 1, 0)[0].is_kept
    tally.take_healthy(EngineFailed("its neighbour failed"), np.ones(4, dtype=np.float32))
    assert not promises(tally, 1, 0)[0].is_kept


def test_one_vector_that_is_off_breaks_the_promise() -> None:
    tally = Tally()
    tally.take_healthy(output(1.0 + 2e-5), np.ones(4, dtype=np.float32))
    assert [promise.is_kept for promise in promises(tally, 1, 0)] == [True, False, True]


def test_a_poisoned_text_that_is_answered_breaks_the_promise() -> None:
    tally = Tally()
    tally.take_healthy(output(1.0), np.ones(4, dtype=np.float32))
    tally.take_poisoned(EngineFailed("as it should"), "fail")
    assert promises(tally, 1, 0)[2].is_kept
    tally.take_poisoned(output(1.0), "fail")
    assert not promises(tally, 1, 0)[2].is_kept


def test_nothing_tested_is_no_promise_kept() -> None:
    assert not promises(Tally(), 0, 0)[0].is_kept
    assert poison.PART == "poison"
