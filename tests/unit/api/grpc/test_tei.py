"""The API of text-embeddings-inference over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from tests.support.calls import Calls, open_calls, told

from headrace.api.grpc.generated import tei_pb2 as pb
from headrace.types import Answer, Classification, Label, Ranking, Request, Result, TaskName, Timings

LEFT = pb.TRUNCATION_DIRECTION_LEFT


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with open_calls() as calls:
        yield calls


def answer_with(calls: Calls, task: TaskName, *results: Result) -> list[Request]:
    asked = []

    async def run(request: Request) -> Answer:
        asked.append(request)
        timings = Timings(queue_s=0.001, tokenize_s=0.002, run_s=0.003, total_s=0.004)
        return Answer(model="m", revision="r", task=task, results=results, timings=timings, tokens=5, cached=0)

    calls.it.service.run = run  # type: ignore[method-assign]
    return asked


async def test_a_text_is_embedded(calls: Calls):
    message = pb.EmbedRequest(inputs="a")
    answer = await calls.call("/tei.v1.Embed/Embed", message, pb.EmbedResponse)
    assert np.linalg.norm(answer.embeddings) == pytest.approx(1)
    assert (answer.metadata.compute_chars, answer.metadata.compute_tokens) == (1, 3)
    assert answer.metadata.total_time_ns > 0
    longer = await calls.call("/tei.v1.Embed/Embed", pb.EmbedRequest(inputs="a", normalize=False), pb.EmbedResponse)
    assert np.linalg.norm(longer.embeddings) != pytest.approx(1)


async def test_a_stream_is_in_order_and_ends_with_an_error(calls: Calls):
    texts = [f"text {index}" for index in range(30)]
    alone = [await calls.call("/tei.v1.Embed/Embed", pb.EmbedRequest(inputs=text), pb.EmbedResponse) for text in texts]
    requests = [pb.EmbedRequest(inputs=text) for text in texts]
    found = [each async for each in calls.stream("/tei.v1.Embed/EmbedStream", requests, pb.EmbedResponse)]
    assert [list(each.embeddings) for each in found] == [list(each.embeddings) for each in alone]
    stream = calls.stream("/tei.v1.Embed/EmbedStream", [pb.EmbedRequest(inputs="w " * 40)], pb.EmbedResponse)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert told(caught.value).code == "input.too_long"  # which is not cut unless it is asked for
    cut = await calls.call("/tei.v1.Embed/Embed", pb.EmbedRequest(inputs="w " * 40, truncate=True), pb.EmbedResponse)
    assert cut.metadata.compute_tokens == 16


async def test_a_text_is_classified(calls: Calls):
    labels = (Label("good", 0.75), Label("bad", 0.25))
    asked = answer_with(calls, "classify", Classification(labels=labels, tokens=5, truncated=False))
    message = pb.PredictRequest(inputs="a", raw_scores=True)
    answer = await calls.call("/tei.v1.Predict/Predict", message, pb.PredictResponse)
    assert [(each.label, each.score) for each in answer.predictions] == [("good", 0.75), ("bad", 0.25)]
    assert (asked[0].inputs, asked[0].options.raw, asked[0].options.truncate) == (("a",), True, "error")
    [streamed] = [each async for each in calls.stream("/tei.v1.Predict/PredictStream", [message], pb.PredictResponse)]
    assert streamed.predictions == answer.predictions


async def test_texts_are_ranked(calls: Calls):
    results = [Ranking(index=index, score=score, tokens=5, truncated=False) for index, score in ((1, 0.5), (0, 0.25))]
    asked = answer_with(calls, "rerank", *results)
    for wanted, texts in ((False, ["", ""]), (True, ["b", "a"])):
        message = pb.RerankRequest(query="q", texts=["a", "b"], return_text=wanted)
        answer = await calls.call("/tei.v1.Rerank/Rerank", message, pb.RerankResponse)
        assert [(each.index, each.score) for each in answer.ranks] == [(1, 0.5), (0, 0.25)]
        assert [each.text for each in answer.ranks] == texts
        assert answer.metadata.queue_time_ns == 1_000_000
        assert all(each.HasField("text") == wanted for each in answer.ranks)
    assert (asked[0].query, asked[0].inputs) == ("q", ("a", "b"))


async def test_the_first_model_is_described(calls: Calls):
    answer = await calls.call("/tei.v1.Info/Info", pb.InfoRequest(), pb.InfoResponse)
    assert (answer.model_type, answer.model_dtype, answer.max_client_batch_size) == (0, "fp32", 256)


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [
        (
            "Embed/Embed",
            pb.EmbedRequest(inputs="a", truncation_direction=LEFT),
            "request.invalid",
        ),
        ("Embed/Embed", pb.EmbedRequest(inputs="a", dimensions=9999), "request.invalid"),
        ("Embed/Embed", pb.EmbedRequest(inputs="a", prompt_name="none"), "request.invalid"),
        ("Predict/Predict", pb.PredictRequest(inputs="a"), "task.unsupported"),
        ("Rerank/Rerank", pb.RerankRequest(query="a", texts=["a"]), "task.unsupported"),
        ("Rerank/Rerank", pb.RerankRequest(query="a"), "task.unsupported"),
    ],
)
async def test_what_cannot_be_done_is_told(calls: Calls, path: str, message: Any, code: str):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.call(f"/tei.v1.{path}", message, pb.EmbedResponse)
    assert told(caught.value).code == code
