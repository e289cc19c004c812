"""What every engine must do. The words ``poison`` and ``nan`` misbehave in every engine under test."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from headrace.engine.base import Engine, Job, JobResult, Output
from headrace.errors import (
    DeadlineExceeded,
    EngineFailed,
    HeadraceError,
    InputTooLong,
    OutputInvalid,
    QueueFull,
    RequestInvalid,
    RequestTooLarge,
    ServiceStopping,
)
from headrace.options import Truncate

MAX_QUEUED = 32


def job(*texts: str, truncate: Truncate = "truncate", seconds: float = 30) -> Job:
    return Job(texts=texts, truncate=truncate, deadline=time.monotonic() + seconds)


def vector(item: Output | HeadraceError) -> np.ndarray:
    assert isinstance(item, Output), item
    return np.asarray(item.arrays["embedding"])


class EngineContract:
    """Subclasses build an engine with a window of 16 tokens and a queue of 32 texts."""

    def make_engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = self.make_engine()
        await engine.start()
        yield engine
        await engine.aclose()

    async def test_answers_come_in_the_order_of_the_texts(self, engine: Engine):
        texts = ["w1", "w2 w3 w4 w5", "w6", "w7 w8"]
        together = await engine.run(job(*texts))
        alone = [(await engine.run(job(text))).items[0] for text in texts]
        for one, other in zip(together.items, alone, strict=True):
            np.testing.assert_allclose(vector(one), vector(other), atol=1e-6)

    async def test_an_answer_does_not_depend_on_its_neighbours(self, engine: Engine):
        alone = vector((await engine.run(job("w1 w2"))).items[0])
        among = await engine.run(job("w9 w9 w9 w9 w9 w9 w9 w9", "w1 w2", "w3", ""))
        np.testing.assert_allclose(vector(among.items[1]), alone, atol=1e-6)

    async def test_an_output_says_how_many_tokens_it_took(self, engine: Engine):
        item = (await engine.run(job("w1 w2 w3"))).items[0]
        assert isinstance(item, Output)
        assert (item.tokens, item.truncated) == (5, False)
        assert item.arrays["norm"].shape == ()

    async def test_an_empty_text_is_a_text(self, engine: Engine):
        item = (await engine.run(job(""))).items[0]
        assert isinstance(item, Output)
        assert item.tokens == 2

    async def test_a_text_over_the_window_is_cut_and_says_so(self, engine: Engine):
        item = (await engine.run(job("w1 " * 100))).items[0]
        assert isinstance(item, Output)
        assert (item.tokens, item.truncated) == (16, True)

    async def test_a_text_that_just_fits_is_not_cut(self, engine: Engine):
        item = (await engine.run(job("w1 " * 14))).items[0]
        assert isinstance(item, Output)
        assert (item.tokens, item.truncated) == (16, False)

    async def test_a_text_over_the_window_is_refused_alone(self, engine: Engine):
        items = (await engine.run(job("w1", "w1 " * 15, "w2", truncate="error"))).items
        assert [type(item) for item in items] == [Output, InputTooLong, Output]

    @pytest.mark.parametrize("words", [0, 1, 14])
    async def test_a_text_that_fits_is_answered_the_same_when_it_may_be_chunked(self, engine: Engine, words: int):
        text = " ".join(f"w{number}" for number in range(words))
        plain, chunked = [
            (await engine.run(job(text, truncate=truncate))).items[0] for truncate in ("truncate", "chunk")
        ]
        assert isinstance(plain, Output)
        assert isinstance(chunked, Output)
        assert len(chunked.windows) == 1
        assert (chunked.tokens, chunked.truncated) == (plain.tokens, plain.truncated)
        np.testing.assert_allclose(vector(chunked), vector(plain), atol=1e-6)

    async def test_a_chunked_text_has_the_answers_of_its_windows(self, engine: Engine):
        words = [f"w{number}" for number in range(30)]
        items = (await engine.run(job("w1", " ".join(words), "w2", truncate="chunk"))).items
        assert [type(item) for item in items] == [Output, Output, Output]
        chunked = items[1]
        assert isinstance(chunked, Output)
        assert [(window.tokens, window.weight) for window in chunked.windows] == [(16, 14), (16, 13), (6, 3)]
        assert (chunked.tokens, chunked.truncated) == (38, False)
        parts = [" ".join(words[start : start + 14]) for start in (0, 13, 26)]
        alone = (await engine.run(job(*parts))).items
        for window, item in zip(chunked.windows, alone, strict=True):
            np.testing.assert_allclose(window.arrays["embedding"], vector(item), atol=1e-6)

    @pytest.mark.parametrize(("word", "error"), [("poison", EngineFailed), ("nan", OutputInvalid)])
    async def test_a_window_that_fails_fails_its_text_alone(
        self, engine: Engine, word: str, error: type[HeadraceError]
    ):
        texts = ("w1 " * 40, "w1 " * 20 + word + " w2" * 20, "w3")
        items = (await engine.run(job(*texts, truncate="chunk"))).items
        assert [type(item) for item in items] == [Output, error, Output]

    async def test_a_poison_text_fails_alone(self, engine: Engine):
        texts = [f"w{number}" for number in range(20)]
        texts[13] = "w1 poison"
        items = (await engine.run(job(*texts))).items
        assert isinstance(items[13], EngineFailed)
        assert sum(isinstance(item, Output) for item in items) == 19

    async def test_a_poison_text_does_not_fail_another_request(self, engine: Engine):
        results = await asyncio.gather(*(engine.run(job(word)) for word in ("w1", "poison", "w2", "nan", "w3")))
        kinds = [type(result.items[0]) for result in results]
        assert kinds == [Output, EngineFailed, Output, OutputInvalid, Output]

    async def test_nan_is_the_error_of_its_text(self, engine: Engine):
        items = (await engine.run(job("w1", "nan", "w2"))).items
        assert [type(item) for item in items] == [Output, OutputInvalid, Output]

    async def test_a_text_whose_deadline_has_passed_is_not_computed(self, engine: Engine):
        item = (await engine.run(job("w1", seconds=-1))).items[0]
        assert isinstance(item, DeadlineExceeded)

    async def test_a_caller_that_leaves_does_not_disturb_the_others(self, engine: Engine):
        leaving = [asyncio.create_task(engine.run(job("w1", "w2"))) for _ in range(5)]
        staying = [asyncio.create_task(engine.run(job("w3"))) for _ in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        results = await asyncio.gather(*staying)
        assert all(isinstance(result.items[0], Output) for result in results)
        outcomes = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert isinstance((await engine.run(job("w4"))).items[0], Output)

    async def test_more_texts_than_the_queue_holds_are_refused_for_good(self, engine: Engine):
        with pytest.raises(RequestTooLarge):
            await engine.run(job(*["w1"] * (MAX_QUEUED + 1)))

    async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(self, engine: Engine):
        await engine.run(job("w1"))
        tasks = [asyncio.create_task(engine.run(job(*["w1 w2"] * 8))) for _ in range(40)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [result for result in results if isinstance(result, QueueFull)]
        assert refused
        assert len(refused) + sum(isinstance(result, JobResult) for result in results) == 40
        assert refused[0].retry_after_s is not None
        assert refused[0].retry_after_s > 0
        assert isinstance((await engine.run(job("w1"))).items[0], Output)

    async def test_a_tenant_that_has_filled_the_queue_keeps_nobody_out(self, engine: Engine):
        alone = await engine.run(replace(job("w1"), tenant="few"))
        texts = [" ".join(f"w{number}" for number in range(14))] * (MAX_QUEUED // 4)
        many = [asyncio.create_task(engine.run(replace(job(*texts), tenant="many"))) for _ in range(8)]
        few = [asyncio.create_task(engine.run(replace(job("w1"), tenant=tenant))) for tenant in ("few", "new", "newer")]
        results = await asyncio.gather(*many, return_exceptions=True)
        assert all(isinstance(each, JobResult | QueueFull) for each in results)
        for found in await asyncio.gather(*few):
            np.testing.assert_allclose(vector(found.items[0]), vector(alone.items[0]), atol=1e-6)

    async def test_a_lone_surrogate_is_the_error_of_its_text(self, engine: Engine):
        items = (await engine.run(job("w1", "w2 \ud800", "w3"))).items
        assert isinstance(items[0], Output)
        assert isinstance(items[1], RequestInvalid)
        np.testing.assert_allclose(vector(items[2]), vector((await engine.run(job("w3"))).items[0]), atol=1e-6)

    async def test_a_probe_is_a_real_inference(self, engine: Engine):
        await engine.probe()

    async def test_a_closed_engine_refuses_and_may_be_closed_again(self, engine: Engine):
        await engine.aclose()
        with pytest.raises(ServiceStopping):
            await engine.run(job("w1"))
        await engine.aclose()

    async def test_closing_finishes_what_was_accepted(self, engine: Engine):
        tasks = [asyncio.create_task(engine.run(job(f"w{number}"))) for number in range(10)]
        await asyncio.sleep(0)
        await engine.aclose()
        results = await asyncio.gather(*tasks)
        assert all(isinstance(result.items[0], Output) for result in results)

    async def test_times_are_told(self, engine: Engine):
        timings = (await engine.run(job("w1"))).timings
        assert timings.run_s > 0
        assert timings.tokenize_s > 0
        assert timings.queue_s >= 0
