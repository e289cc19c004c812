import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tests.support.facts import Recorder
from tests.support.services import PLAN, ask, service_under_test, values

from headrace.errors import (
    AccessDenied,
    DeadlineExceeded,
    EngineFailed,
    HeadraceError,
    InputTooLong,
    LimitExceeded,
    ModelUnknown,
    OutputInvalid,
    RequestInvalid,
    RequestTooLarge,
)
from headrace.observe.base import RequestFinished
from headrace.options import Options
from headrace.types import Caller, Scope, Similarity


def finished(recorder: Recorder) -> list[tuple[str, str]]:
    return [(fact.model, fact.outcome) for fact in recorder.of(RequestFinished)]


async def test_results_come_in_the_order_of_the_inputs():
    async with service_under_test() as it:
        together = await it.service.run(ask("b", "a b c", "a"))
        alone = [(await it.service.run(ask(text))).results[0] for text in ("b", "a b c", "a")]
        for one, other in zip(together.results, alone, strict=True):
            np.testing.assert_array_equal(values(one), values(other))
        assert (together.model, together.task, together.cached) == ("fake", "embed", 0)
        assert together.tokens == 3 + 5 + 3
        assert together.timings.total_s >= together.timings.run_s > 0


async def test_a_remembered_text_is_not_computed_again_and_answers_the_same():
    async with service_under_test() as it:
        first = await it.service.run(ask("a", "b"))
        batches = len(it.backend.batches)
        again = await it.service.run(ask("b", "a"))
        assert len(it.backend.batches) == batches
        assert again.cached == 2
        np.testing.assert_array_equal(values(again.results[0]), values(first.results[1]))
        assert again.results[0].tokens == first.results[1].tokens


async def test_a_text_over_the_window_is_answered_whole_and_remembered_so():
    async with service_under_test() as it:
        cut = (await it.service.run(ask("a " * 40))).results[0]
        chunk = Options(truncate="chunk")
        first, again = [(await it.service.run(ask("a " * 40, options=chunk))) for _ in range(2)]
        assert (cut.tokens, cut.truncated, cut.windows) == (16, True, 1)
        assert [answer.cached for answer in (first, again)] == [0, 1]
        for result in (first.results[0], again.results[0]):
            assert (result.tokens, result.truncated, result.windows) == (3 * 16, False, 3)
        np.testing.assert_array_equal(values(again.results[0]), values(first.results[0]))


async def test_only_the_texts_that_are_not_remembered_are_computed():
    async with service_under_test() as it:
        await it.service.run(ask("a"))
        it.backend.batches.clear()
        answer = await it.service.run(ask("a", "b"))
        assert it.backend.batches == [(1, 3)]
        assert answer.cached == 1


async def test_equal_texts_of_a_request_are_computed_once():
    async with service_under_test() as it:
        answer = await it.service.run(ask("a", "b", "a", "a"))
        assert sum(texts for texts, _ in it.backend.batches) == 2
        np.testing.assert_array_equal(values(answer.results[0]), values(answer.results[3]))
        assert answer.cached == 0


async def test_a_result_is_remembered_for_its_options_only():
    async with service_under_test() as it:
        unit = values((await it.service.run(ask("a", options=Options(normalize=True)))).results[0])
        raw = values((await it.service.run(ask("a", options=Options(normalize=False)))).results[0])
        assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(raw) != pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(raw / np.linalg.norm(raw), unit, atol=1e-6)


async def test_without_a_choice_the_model_decides_whether_to_normalize():
    async with service_under_test(normalize=False) as it:
        raw = values((await it.service.run(ask("a"))).results[0])
        assert np.linalg.norm(raw) != pytest.approx(1, abs=1e-3)
        assert (await it.service.run(ask("a", options=Options(normalize=False)))).cached == 1


async def test_who_wants_no_remembered_answer_has_it_computed_and_it_is_remembered():
    async with service_under_test() as it:
        await it.service.run(ask("a"))
        anew = await it.service.run(replace(ask("a", "b", "a"), may_recall=False))
        assert (anew.cached, anew.is_remembered) == (0, False)
        assert sum(texts for texts, _ in it.backend.batches) == 3
        again = await it.service.run(ask("a", "b"))
        assert (again.cached, again.is_remembered) == (2, True)


async def test_an_answer_is_remembered_if_all_that_was_read_for_it_was():
    async with service_under_test() as it:
        await it.service.run(ask("a", "b"))
        compare = replace(ask("a", "b"), task="similarity", query="q")
        answers = [await it.service.run(each) for each in (ask("a", "c"), compare, compare)]
        assert [(answer.cached, answer.is_remembered) for answer in answers] == [(1, False), (2, False), (3, True)]


async def test_an_entry_of_another_key_is_not_an_answer():
    async with service_under_test() as it:
        await it.service.run(ask("a"))
        await it.service.run(ask("b"))
        keys = [*it.cache._once.entries]
        entries = dict(zip(keys, reversed(await it.cache.get_many(keys)), strict=True))
        await it.cache.put_many({key: entry for key, entry in entries.items() if entry is not None})
        assert (await it.service.run(ask("a"))).cached == 0


@pytest.mark.parametrize(
    ("inputs", "options", "error", "field"),
    [
        ((), Options(), RequestInvalid, "inputs"),
        (("a",) * 9, Options(), RequestTooLarge, "inputs"),
        (("a", "b" * 101), Options(), RequestTooLarge, "inputs[1]"),
        (("a", "b", "a " * 15), Options(truncate="error"), InputTooLong, "inputs[2]"),
        (("a", "poison"), Options(), EngineFailed, "inputs[1]"),
        (("nan", "a"), Options(), OutputInvalid, "inputs[0]"),
        (("a", "\ud800"), Options(), RequestInvalid, "inputs[1]"),
    ],
)
async def test_an_error_names_the_input(
    inputs: tuple[str, ...], options: Options, error: type[HeadraceError], field: str
):
    async with service_under_test() as it:
        it.backend.poison, it.backend.nan = frozenset({"poison"}), frozenset({"nan"})
        with pytest.raises(error) as raised:
            await it.service.run(ask(*inputs, options=options))
        assert raised.value.field == field
        assert finished(it.recorder) == [("fake", error.code)]


async def test_the_neighbours_of_a_text_that_fails_are_remembered():
    async with service_under_test() as it:
        it.backend.nan = frozenset({"nan"})
        with pytest.raises(OutputInvalid):
            await it.service.run(ask("a", "nan", "b"))
        assert (await it.service.run(ask("a", "b"))).cached == 2


async def test_the_error_of_a_text_that_stands_twice_names_the_first_place():
    async with service_under_test() as it:
        it.backend.nan = frozenset({"nan"})
        with pytest.raises(OutputInvalid) as raised:
            await it.service.run(ask("a", "nan", "nan"))
        assert raised.value.field == "inputs[1]"


async def test_an_unknown_model_does_not_become_a_label():
    async with service_under_test() as it:
        with pytest.raises(ModelUnknown):
            await it.service.run(ask("a", model="made-up"))
        assert finished(it.recorder) == [("", "model.unknown")]


async def test_a_caller_without_the_scope_is_denied_before_it_costs_anything():
    async with service_under_test() as it:
        nobody = Caller("nobody", frozenset())
        with pytest.raises(AccessDenied):
            await it.service.run(ask("a", caller=nobody))
        with pytest.raises(AccessDenied):
            it.service.list_models(nobody)
        with pytest.raises(AccessDenied):
            it.service.show_model(nobody, "fake")
        assert it.backend.batches == []


async def test_a_caller_over_its_rate_is_refused_and_another_is_not():
    async with service_under_test(rules="0.001 requests/s burst=2") as it:
        for _ in range(2):
            await it.service.run(ask("a"))
        with pytest.raises(LimitExceeded) as raised:
            await it.service.run(ask("a"))
        assert raised.value.retry_after_s
        await it.service.run(ask("a", caller=Caller("another", frozenset({Scope.INFER}))))


async def test_the_deadline_also_ends_what_is_being_computed():
    async with service_under_test() as it:
        it.backend.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await it.service.run(ask("a", seconds=0.05))
        it.backend.gate.set()
        assert finished(it.recorder) == [("fake", "deadline.exceeded")]


async def test_a_request_whose_caller_leaves_is_counted_and_its_texts_are_dropped():
    async with service_under_test() as it:
        it.backend.gate.clear()
        blocking = asyncio.create_task(it.service.run(ask("a")))
        while not it.backend.batches:
            await asyncio.sleep(0.001)
        leaving = asyncio.create_task(it.service.run(ask("b b b b b b b b b b b b")))
        await asyncio.sleep(0.01)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        it.backend.gate.set()
        await blocking
        assert it.backend.batches == [(1, 3)]
        assert finished(it.recorder) == [("fake", "caller.left"), ("fake", "ok")]


async def test_what_nobody_foresaw_is_counted_too(monkeypatch: pytest.MonkeyPatch):
    async with service_under_test() as it:

        async def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(it.cache, "get_many", fail)
        with pytest.raises(ZeroDivisionError):
            await it.service.run(ask("a"))
        assert finished(it.recorder) == [("fake", "internal.error")]


async def test_models_are_listed_and_shown():
    async with service_under_test() as it:
        caller = Caller("reader", frozenset({Scope.MODELS_READ}))
        assert [model.manifest.name for model in it.service.list_models(caller)] == ["fake"]
        shown = it.service.show_model(caller, "fake")
        assert (shown.manifest.dimensions, shown.plan) == (8, PLAN)
        assert it.service.is_ready


async def test_texts_that_are_compared_share_their_embeddings_with_those_that_are_asked_for():
    async with service_under_test() as it:
        query, one, two = [values(result) for result in (await it.service.run(ask("q", "a", "b"))).results]
        compared = await it.service.run(ask("a", "b", "q", task="similarity", query="q"))
        assert (compared.task, compared.model, compared.cached, len(it.backend.batches)) == ("similarity", "fake", 4, 1)
        assert all(isinstance(result, Similarity) for result in compared.results)
        scores = [result.score for result in compared.results if isinstance(result, Similarity)]
        assert scores == pytest.approx([float(one @ query), float(two @ query), 1.0], abs=1e-6)
        assert compared.tokens == 4 * 3


@pytest.mark.parametrize(
    ("inputs", "query", "options", "error", "field"),
    [
        (("a",), None, Options(), RequestInvalid, "query"),
        ((), "a", Options(), RequestInvalid, "inputs"),
        (("a",), "b" * 101, Options(), RequestTooLarge, "query"),
        (("a", "b" * 101), "a", Options(), RequestTooLarge, "inputs[1]"),
        (("a",), "b " * 20, Options(truncate="error"), InputTooLong, "query"),
        (("a", "b " * 20), "a", Options(truncate="error"), InputTooLong, "inputs[1]"),
    ],
)
async def test_what_cannot_be_compared_is_named(
    inputs: tuple[str, ...], query: str | None, options: Options, error: type[HeadraceError], field: str
):
    async with service_under_test() as it:
        with pytest.raises(error) as caught:
            await it.service.run(ask(*inputs, task="similarity", query=query, options=options))
        assert caught.value.field == field
