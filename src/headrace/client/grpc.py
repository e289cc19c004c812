"""A server asked over gRPC, as ``proto/headrace.proto`` has it."""

import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.client.address import Address
from headrace.client.answers import check_vectors, make_error, read_models, read_results
from headrace.client.base import MOST_BYTES, ModelShown, Part, Question
from headrace.errors import (
    AccessDenied,
    AnswerInvalid,
    CallerUnknown,
    HeadraceError,
    RequestInvalid,
    RequestTooLarge,
    RouteUnknown,
    ServerFailed,
    ServerUnreachable,
    SettingInvalid,
    TimeoutElapsed,
)
from headrace.types import FloatArray, Result
from headrace.version import VERSION

M = TypeVar("M", bound=Message)

_DETAILS: Final = "grpc-status-details-bin"
_USED_BY: Final[dict[str, int]] = {}  # the process that first asked over gRPC
_MOST_METADATA: Final = 64 << 10
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", -1),  # the server has a limit
    ("grpc.max_metadata_size", _MOST_METADATA),
    ("grpc.absolute_max_metadata_size", _MOST_METADATA),
    ("grpc.enable_retries", 0),  # it would repeat what is repeated here
    # Until the next attempt to connect all calls fail with what the last one found; its own 1 s is longer than ours.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.primary_user_agent", f"headrace/{VERSION}"),
]
_BY_STATUS: Final[dict[grpc.StatusCode, type[HeadraceError]]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutElapsed,
    grpc.StatusCode.UNAUTHENTICATED: CallerUnknown,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.UNIMPLEMENTED: RouteUnknown,
}
"""Of a call that says no more: what gRPC itself, or a proxy, answered."""


class GrpcTransport:
    """Asks over gRPC.

    Args:
        address: Of the server.

    Raises:
        SettingInvalid: The process was forked from one that asked over gRPC, whose library would end it without a word.
    """

    def __init__(self, address: Address) -> None:
        if _USED_BY.setdefault("pid", os.getpid()) != os.getpid():
            raise SettingInvalid(
                "gRPC cannot be used in a process forked from one that used it; start it otherwise (spawn), or give an"
                " http:// address",
                field="url",
            )
        self._target = address.target
        self._metadata = () if address.key is None else (("authorization", f"Bearer {address.key}"),)
        self._channel: Any = (  # of grpc.aio, whose stubs want to know what each path takes
            grpc.aio.secure_channel(
                address.target, grpc.ssl_channel_credentials(*address.trust.pems()), options=_OPTIONS
            )
            if address.is_secure
            else grpc.aio.insecure_channel(address.target, options=_OPTIONS)
        )

    async def ask(self, question: Question, timeout_s: float) -> Part[list[Result]]:
        """Return the results of a task."""
        answer = await self._infer(question, timeout_s)
        return Part(*read_results(question, _fields(answer)))

    async def embed(self, question: Question, timeout_s: float) -> Part[FloatArray]:
        """Return embeddings."""
        answer = await self._infer(question, timeout_s)
        lengths = {len(each.embedding) for each in answer.results}
        if len(lengths) != 1:
            raise AnswerInvalid("the server gave no embeddings, or some of other lengths; is it a Headrace?")
        values = np.empty((len(answer.results), *lengths), np.float32)
        for row, result in zip(values, answer.results, strict=True):
            row[:] = result.embedding
        return Part(answer.revision, check_vectors(question, values))

    async def list_models(self, timeout_s: float) -> list[ModelShown]:
        """Return the models that are served."""
        path = "/headrace.v1.Models/ListModels"
        return read_models(_fields(await self._call(path, pb.ListModelsRequest(), pb.ListModelsResponse, timeout_s)))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _infer(self, question: Question, timeout_s: float) -> Any:
        name = question.task.capitalize()
        message, shape = _write(question), getattr(pb, f"{name}Response")
        routing = (("x-routing-key", question.routing_key),)
        return await self._call(f"/headrace.v1.Inference/{name}", message, shape, timeout_s, routing)

    async def _call(
        self, path: str, message: Message, shape: type[M], timeout_s: float, metadata: Sequence[tuple[str, str]] = ()
    ) -> M:
        call = self._channel.unary_unary(path)
        try:
            data = await call(message.SerializeToString(), timeout=timeout_s, metadata=(*self._metadata, *metadata))
        except grpc.aio.AioRpcError as error:
            raise self._refusal(error) from error
        try:
            return shape.FromString(data)
        except DecodeError as error:
            raise AnswerInvalid(f"the server's answer is no {shape.DESCRIPTOR.full_name}; is it a Headrace?") from error

    def _refusal(self, error: grpc.aio.AioRpcError) -> HeadraceError:
        """Return the error that a call ended with."""
        told = _read_details(error)
        if told is not None:
            return told
        status = error.code()
        if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Of a message that is too long nobody says more than whose it was.
            if "CLIENT: " in (error.details() or ""):
                return AnswerInvalid(f"the server's answer is over {MOST_BYTES >> 20} MiB; is it a Headrace?")
            return RequestTooLarge("the request is a longer message than the server reads; send less at once")
        kind = _BY_STATUS.get(status, ServerFailed)
        return kind(f"{self._target} ended the call with {status.name} and nothing more; is the server running there?")


def _write(question: Question) -> Message:
    """Return a question as a message.

    Raises:
        RequestInvalid: An option is none of the task, or has a value of another type.
    """
    name = question.task.capitalize()
    options = getattr(pb, f"{name}Options")()
    for option, value in question.options.items():
        is_enum = option in {"truncate", "aggregation"} and isinstance(value, str)
        try:
            options.MergeFrom(type(options)(**{option: f"{option}_{value}".upper() if is_enum else value}))
        except (ValueError, TypeError) as error:
            raise RequestInvalid(
                f"options.{option}: {question.task} has no such option, or not with such a value",
                field=f"options.{option}",
            ) from error
    fields: dict[str, Any] = {"inputs": question.inputs, "options": options}
    if question.task == "zeroshot":
        fields["labels"] = question.labels
    if question.query is not None:
        fields["query"] = question.query
    message: Message = getattr(pb, f"{name}Request")(model=question.model, **fields)
    return message


def _fields(message: Message) -> dict[str, Any]:
    """Return all fields of a message by name, as JSON has them; nothing for one that may be left out, and is."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return list(value) if field.message_type is None else [_fields(each) for each in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return value if field.message_type is None else _fields(value)


def _read_details(error: grpc.aio.AioRpcError) -> HeadraceError | None:
    """Return the error that a Headrace names in the details of a call; nothing if there are none."""
    details = next((value for name, value in error.trailing_metadata() or () if name == _DETAILS), b"")
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    try:
        found = status_pb2.Status.FromString(details).details
        has = {type(each): any(detail.Unpack(each) for detail in found) for each in (info, request, retry)}
    except (DecodeError, TypeError):
        return None
    if not has[type(info)]:
        return None
    field = request.field_violations[0].field if request.field_violations else None
    later = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if has[type(retry)] else None
    return make_error(info.metadata.get("code"), error.details(), field, later)
