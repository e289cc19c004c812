"""A call: cut, asked some at a time, put together; on a transport that a test scripts."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headrace.client.asking import Asking, Call, Limits
from headrace.client.base import ModelShown, Part, Question
from headrace.errors import (
    AnswerMixed,
    HeadraceError,
    InputTooLong,
    QueueFull,
    RequestInvalid,
    RequestTooLarge,
    TimeoutElapsed,
)
from headrace.types import FloatArray, Ranking, Result

LIMITS = Limits(timeout_s=30, retries=0, max_inputs=4, max_requests=3)


class Scripted:
    """Embeds a number as itself, and ranks by it."""

    def __init__(self, refuse: Callable[[Question], HeadraceError | None] = lambda _: None) -> None:
        self.refuse = refuse
        self.asked: list[Question] = []
        self.told_s: list[float] = []
        self.running = self.most_running = self.ended = 0
        self.revisions = ["r"]

    async def embed(self, question: Question, timeout_s: float) -> Part[FloatArray]:
        self.told_s.append(timeout_s)
        await self._take(question)
        return Part(self._revision(), np.array([[float(text)] for text in question.inputs], np.float32))

    async def ask(self, question: Question, timeout_s: float) -> Part[list[Result]]:
        await self._take(question)
        ranked = sorted(enumerate(question.inputs), key=lambda each: -float(each[1]))
        kept = ranked[: question.options.get("top_k")]
        results = [Ranking(index=index, score=float(text), tokens=1, truncated=False) for index, text in kept]
        return Part(self._revision(), list[Result](results))

    async def list_models(self, timeout_s: float) -> list[ModelShown]:
        return []

    async def aclose(self) -> None:
        self.ended += 1

    def _revision(self) -> str:
        return self.revisions.pop() if len(self.revisions) > 1 else self.revisions[0]

    async def _take(self, question: Question) -> None:
        self.asked.append(question)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.001 * (len(self.asked) % 3))  # so that answers come in another order
            if (error := self.refuse(question)) is not None:
                raise error
        finally:
            self.running -= 1


def numbers(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def embed(texts: Any, **more: Any) -> Call:
    return Call("embed", texts, {}, **more)


async def test_a_list_of_any_length_comes_back_in_its_order():
    server = Scripted()
    found = await Asking(server, LIMITS).embed(embed(numbers(50)))
    np.testing.assert_array_equal(found[:, 0], np.arange(50, dtype=np.float32))
    assert (len(server.asked), server.most_running) == (13, 3)
    assert len({question.routing_key for question in server.asked}) == 1  # one version answers all


async def test_nothing_is_asked_for_nothing():
    server = Scripted()
    asking = Asking(server, LIMITS)
    assert (await asking.embed(embed([]))).shape == (0, 0)
    assert await asking.ask(Call("rerank", [], {}, query="q")) == []
    assert server.asked == []


async def test_a_ranking_is_that_of_the_whole_list():
    found = await Asking(Scripted(), LIMITS).ask(Call("rerank", numbers(11), {"top_k": 3}, query="q"))
    assert [each.index for each in found] == [10, 9, 8]  # type: ignore[attr-defined]


async def test_one_failure_ends_the_rest_and_names_its_place():
    server = Scripted(lambda question: InputTooLong("long", field="inputs[2]") if "6" in question.inputs else None)
    with pytest.raises(InputTooLong) as caught:
        await Asking(server, LIMITS).embed(embed(numbers(1000)))
    assert caught.value.field == "inputs[6]"
    assert (server.running, len(server.asked) < 10) == (0, True)
    asking = Asking(server, LIMITS)
    for _ in range(5):  # no place is lost to a call that failed
        with pytest.raises(InputTooLong):
            await asking.embed(embed(numbers(1000)))
    assert (await asking.embed(embed(["1"] * 20))).shape == (20, 1)


async def test_a_server_that_takes_less_is_asked_for_less():
    def refuse(question: Question) -> HeadraceError | None:
        return RequestTooLarge("many", field="inputs") if len(question.inputs) > 5 else None

    server = Scripted(refuse)
    asking = Asking(server, Limits(timeout_s=30, retries=0, max_inputs=40, max_requests=1))
    found = await asking.embed(embed(numbers(100)))
    np.testing.assert_array_equal(found[:, 0], np.arange(100, dtype=np.float32))
    server.asked.clear()
    await asking.embed(embed(numbers(20)))
    assert [len(question.inputs) for question in server.asked] == [5, 5, 5, 5]


async def test_a_body_that_is_too_large_is_cut_by_its_bytes():
    def refuse(question: Question) -> HeadraceError | None:
        return RequestTooLarge("large") if sum(map(len, question.inputs)) > 400 else None

    server = Scripted(refuse)
    found = await Asking(server, LIMITS).embed(embed(["0" * 150, "1", "0" * 299, "2"] * 3))
    assert found[:, 0].tolist() == [0, 1, 0, 2] * 3


@pytest.mark.parametrize("field", [None, "inputs"])
async def test_what_is_too_large_by_itself_is_told_and_not_held_against_others(field: str | None):
    server = Scripted(lambda _: RequestTooLarge("large", field=field))
    asking = Asking(server, LIMITS)
    with pytest.raises(RequestTooLarge):
        await asking.embed(embed(numbers(4), query="a" * 99))
    server.refuse = lambda _: None
    server.asked.clear()
    await asking.embed(embed(numbers(4)))
    assert len(server.asked) == 1


async def test_a_text_that_is_too_large_is_not_cut():
    server = Scripted(lambda _: RequestTooLarge("large", field="inputs[1]"))
    with pytest.raises(RequestTooLarge) as caught:
        await Asking(server, LIMITS).embed(embed(numbers(4)))
    assert (len(server.asked), caught.value.field) == (1, "inputs[1]")


async def test_two_versions_are_not_mixed():
    server = Scripted()
    server.revisions = ["r", "r", "s"]
    with pytest.raises(AnswerMixed) as caught:
        await Asking(server, LIMITS).embed(embed(numbers(9)))
    assert (caught.value.field, caught.value.retryable) == ("model", True)


async def test_a_call_waits_no_longer_than_it_said():
    server = Scripted()

    async def never(question: Question, timeout_s: float) -> Part[FloatArray]:
        await asyncio.sleep(60)
        raise AssertionError

    server.embed = never  # type: ignore[method-assign]
    asking = Asking(server, LIMITS)
    with pytest.raises(TimeoutElapsed):
        await asking.embed(embed(numbers(100), within_s=0.02))
    assert await asking.ask(Call("rerank", ["1"], {}, query="q"))  # the places are free again


async def test_a_call_waits_no_longer_for_a_place_either():
    asking = Asking(Scripted(), Limits(timeout_s=30, retries=0, max_inputs=4, max_requests=1))
    await asking._places.acquire()
    with pytest.raises(TimeoutElapsed):
        await asking.embed(embed(["1"], within_s=0.01))
    asking._places.release()
    assert (await asking.embed(embed(["1"], within_s=20))).shape == (1, 1)


async def test_the_server_is_told_what_is_left_of_the_call():
    server = Scripted()
    await Asking(server, LIMITS).embed(embed(numbers(40), within_s=20))
    await Asking(server, LIMITS).embed(embed(["1"], within_s=50))
    *told, last = server.told_s
    assert told == sorted(told, reverse=True)
    assert all(19 < each <= 20 for each in told)
    assert 29 < last <= 30  # no request takes longer than one may


async def test_a_call_that_is_cancelled_leaves_nothing_behind():
    server = Scripted()
    asking = Asking(server, LIMITS)
    task = asyncio.ensure_future(asking.embed(embed(numbers(1000))))
    while not server.running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.running == 0
    assert (await asking.embed(embed(numbers(20)))).shape == (20, 1)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (embed("the mill"), "inputs"),
        (embed(["a", 1]), "inputs[1]"),
        (embed(["a", "\ud800"]), "inputs[1]"),
        (Call("zeroshot", ["a"], {}, labels="film"), "labels"),
        (Call("zeroshot", ["a"], {}, labels=["film", None]), "labels[1]"),  # type: ignore[list-item]
        (Call("rerank", ["a"], {}, query=1), "query"),  # type: ignore[arg-type]
        (Call("embed", ["a"], {}, model="\udfff"), "model"),
        (Call("embed", ["a"], {"dimensions": np.int64(3)}), "options.dimensions"),
        (Call("classify", ["a"], {"threshold": float("nan")}), "options.threshold"),
        (Call("classify", ["a"], {"top_k": [1]}), "options.top_k"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_its_place(call: Call, field: str):
    server = Scripted()
    with pytest.raises(RequestInvalid) as caught:
        await Asking(server, LIMITS).embed(call)
    assert (caught.value.field, server.asked) == (field, [])


async def test_what_is_left_open_is_not_sent():
    server = Scripted()
    await Asking(server, LIMITS).embed(Call("embed", ["1"], {"prompt": None, "truncate": "error"}))
    assert server.asked[0].options == {"truncate": "error"}


async def test_an_error_that_may_pass_is_asked_again():
    failures = [QueueFull("full", retry_after_s=0.001)]
    server = Scripted(lambda _: failures.pop() if failures else None)
    asking = Asking(server, Limits(timeout_s=30, retries=1, max_inputs=4, max_requests=3))
    assert (await asking.embed(embed(["1"]))).shape == (1, 1)
    assert len(server.asked) == 2
