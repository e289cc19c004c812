"""The API of text-embeddings-inference over gRPC (``proto/tei.proto``): the first model that does a task answers."""

from typing import Final, cast

from google.protobuf.message import Message

from headrace.api.grpc.exchange import Exchange
from headrace.api.grpc.fields import merge_floats
from headrace.api.grpc.generated import tei_pb2 as pb
from headrace.api.grpc.rpcs import Declarations, Streamed, Unary, answer_each
from headrace.api.tei import describe_server
from headrace.errors import RequestInvalid, TaskUnsupported
from headrace.options import Options, Truncate
from headrace.types import Answer, Classification, Embedding, ModelTask, Ranking

_NANOSECONDS: Final = 1e9
_KINDS: Final[dict[ModelTask, pb.ModelType]] = {
    "embed": pb.MODEL_TYPE_EMBEDDING,
    "classify": pb.MODEL_TYPE_CLASSIFIER,
    "rerank": pb.MODEL_TYPE_RERANKER,
}
Cut = pb.EmbedRequest | pb.PredictRequest | pb.RerankRequest


async def _info(exchange: Exchange, _message: pb.InfoRequest) -> Message:
    served = exchange.context.service.list_models(exchange.caller)[0]
    kind = _KINDS.get(served.manifest.task)
    if kind is None:
        raise TaskUnsupported(f"{served.manifest.name!r} does {served.manifest.task!r}, which this API has no word for")
    return pb.InfoResponse(model_type=kind, **describe_server(served, exchange.context.settings))


async def _embed(exchange: Exchange, message: pb.EmbedRequest) -> Message:
    options = Options(
        truncate=_choice(message),
        normalize=message.normalize if message.HasField("normalize") else True,
        dimensions=message.dimensions if message.HasField("dimensions") else None,
        prompt=message.prompt_name if message.HasField("prompt_name") else None,
    )
    answer = await exchange.ask({"task": "embed", "inputs": (message.inputs,), "options": options})
    response = pb.EmbedResponse(metadata=_metadata(answer, message.inputs))
    values = cast("Embedding", answer.results[0]).values
    merge_floats(response, "embeddings", values.astype("<f4").tobytes())
    return response


async def _predict(exchange: Exchange, message: pb.PredictRequest) -> Message:
    options = Options(truncate=_choice(message), raw=message.raw_scores)
    answer = await exchange.ask({"task": "classify", "inputs": (message.inputs,), "options": options})
    labels = cast("Classification", answer.results[0]).labels
    return pb.PredictResponse(
        predictions=[pb.Prediction(score=each.score, label=each.name) for each in labels],
        metadata=_metadata(answer, message.inputs),
    )


async def _rerank(exchange: Exchange, message: pb.RerankRequest) -> Message:
    texts = tuple(message.texts)
    options = Options(truncate=_choice(message), raw=message.raw_scores)
    answer = await exchange.ask({"task": "rerank", "inputs": texts, "query": message.query, "options": options})
    ranks = [
        pb.Rank(index=each.index, score=each.score, text=texts[each.index] if message.return_text else None)
        for each in cast("tuple[Ranking, ...]", answer.results)
    ]
    return pb.RerankResponse(ranks=ranks, metadata=_metadata(answer, *texts))


def _choice(message: Cut) -> Truncate:
    """Return the service's word for what happens to a text over the model's window: here it is refused by default.

    Raises:
        RequestInvalid: It is to be cut at its start.
    """
    if message.truncation_direction != pb.TRUNCATION_DIRECTION_RIGHT:
        raise RequestInvalid(
            "only the end of a text is cut here; leave truncation_direction out", field="truncation_direction"
        )
    return "truncate" if message.truncate else "error"


def _metadata(answer: Answer, *texts: str) -> pb.Metadata:
    timings = answer.timings
    return pb.Metadata(
        compute_chars=sum(map(len, texts)),
        compute_tokens=answer.tokens,
        total_time_ns=round(timings.total_s * _NANOSECONDS),
        tokenization_time_ns=round(timings.tokenize_s * _NANOSECONDS),
        queue_time_ns=round(timings.queue_s * _NANOSECONDS),
        inference_time_ns=round(timings.run_s * _NANOSECONDS),
    )


_EMBED, _PREDICT = Unary(_embed, needs_engine=True), Unary(_predict, needs_engine=True)
SERVICES: Final[Declarations] = {
    pb.DESCRIPTOR.services_by_name["Info"]: {"Info": Unary(_info)},
    pb.DESCRIPTOR.services_by_name["Embed"]: {
        "Embed": _EMBED,
        "EmbedStream": Streamed(answer_each(_embed, in_order=True)),
    },
    pb.DESCRIPTOR.services_by_name["Predict"]: {
        "Predict": _PREDICT,
        "PredictStream": Streamed(answer_each(_predict, in_order=True)),
    },
    pb.DESCRIPTOR.services_by_name["Rerank"]: {"Rerank": Unary(_rerank, needs_engine=True)},
}
