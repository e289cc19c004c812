"""Our own API over gRPC, as ``proto/headrace.proto`` has it."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.message import Message

from headrace.api.asked import Asked
from headrace.api.grpc.exchange import Exchange
from headrace.api.grpc.fields import merge_floats, read_fields
from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.api.grpc.rpcs import Declarations, Declared, Streamed, Unary, answer_each
from headrace.api.native import ask_task, spell_answer
from headrace.api.responses import Model
from headrace.api.schemas import INPUTS
from headrace.api.streams import ask_patiently
from headrace.api.validation import validate
from headrace.errors import HeadraceError, RequestInvalid
from headrace.service import ServedModel
from headrace.tasks import TASKS
from headrace.types import Answer, FloatArray, TaskName

_RESPONSES: Final[Mapping[TaskName, type[Message]]] = {
    "answer": pb.AnswerResponse,
    "classify": pb.ClassifyResponse,
    "embed": pb.EmbedResponse,
    "extract": pb.ExtractResponse,
    "fill": pb.FillResponse,
    "regress": pb.RegressResponse,
    "rerank": pb.RerankResponse,
    "similarity": pb.SimilarityResponse,
    "zeroshot": pb.ZeroshotResponse,
}


def _answering(task: TaskName) -> Unary:
    async def answer(exchange: Exchange, message: Message) -> Message:
        return _write(await exchange.ask(_read(task, message)))

    return Unary(answer, needs_engine=True)


def _read(task: TaskName, message: Message) -> Asked:
    return ask_task(task, validate(read_fields(message), INPUTS[task]))


def _write(answer: Answer) -> Message:
    fields = spell_answer(answer)
    if fields.pop("task") == "embed":
        fields["results"] = [_write_embedding(**result) for result in fields["results"]]
    return _RESPONSES[answer.task](**fields)


def _write_embedding(embedding: FloatArray, **counts: Any) -> pb.EmbedResult:
    result = pb.EmbedResult(**counts)
    merge_floats(result, "embedding", embedding.astype("<f4").tobytes())
    return result


async def _answer_one(exchange: Exchange, message: pb.StreamRequest) -> pb.StreamResponse:
    """Answer a request of a stream; its error is its answer."""
    try:
        task = message.WhichOneof("request")
        if task is None:
            raise RequestInvalid("the message has no request; send one of those of StreamRequest", field="request")
        asked = _read(task, getattr(message, task))
        limit_s = exchange.context.settings.server.request_timeout_s
        answer = await ask_patiently(partial(exchange.ask, asked), limit_s)
    except HeadraceError as error:
        told = pb.Error(code=error.code, message=error.message, retryable=error.retryable, field=error.field or "")
        return pb.StreamResponse(id=message.id, error=told)
    response = pb.StreamResponse(id=message.id)
    getattr(response, task).MergeFrom(_write(answer))
    return response


async def _list_models(exchange: Exchange, _message: pb.ListModelsRequest) -> Message:
    served = exchange.context.service.list_models(exchange.caller)
    return pb.ListModelsResponse(models=[_describe(each) for each in served])


async def _get_model(exchange: Exchange, message: pb.GetModelRequest) -> Message:
    return _describe(exchange.context.service.show_model(exchange.caller, message.name))


def _describe(served: ServedModel) -> pb.Model:
    return pb.Model(**Model.of(served).model_dump(exclude_none=True))


_TASKS: Final[Mapping[str, Declared]] = {task.capitalize(): _answering(task) for task in TASKS}
SERVICES: Final[Declarations] = {
    pb.DESCRIPTOR.services_by_name["Inference"]: {
        **_TASKS,
        "Stream": Streamed(answer_each(_answer_one, in_order=False)),
    },
    pb.DESCRIPTOR.services_by_name["Models"]: {"ListModels": Unary(_list_models), "GetModel": Unary(_get_model)},
}
