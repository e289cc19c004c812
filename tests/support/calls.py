"""The gRPC server on a port, on a service whose answers a test gives or the fake engine's, and a client of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.context import Context
from headrace.api.grpc.server import GrpcServer
from headrace.settings import ServerSettings, Settings

M = TypeVar("M", bound=Message)


@dataclass
class Calls:
    """A client, and the service behind the door."""

    channel: Any  # of grpc.aio, whose stubs want to know what each path takes
    it: ServiceUnderTest
    context: Context
    stop: asyncio.Event
    address: str

    async def call(self, path: str, message: Message | bytes, answer: type[M], **options: Any) -> M:
        """Call an RPC of one message and one answer."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        return answer.FromString(await self.channel.unary_unary(path)(data, **{"timeout": 20, **options}))

    def stream(
        self, path: str, messages: Iterable[Message] | AsyncIterable[Message], answer: type[M], **options: Any
    ) -> Any:
        """Call an RPC of a stream of messages and a stream of answers."""
        call = self.channel.stream_stream(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(messages, **{"timeout": 20, **options})


@contextlib.asynccontextmanager
async def open_calls(
    keys: Sequence[str] = (), it: ServiceUnderTest | None = None, **server: Any
) -> AsyncIterator[Calls]:
    """Give a door; without keys this machine may call."""
    settings = Settings(server=ServerSettings(grpc_port=0, **{"linger_s": 0, **server}))
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(service_under_test()) if it is None else it
        context, stop = served.context(keys, settings), asyncio.Event()
        door = GrpcServer(settings.server)
        await stack.enter_async_context(door.serving(context, stop))
        options = [("grpc.max_send_message_length", -1)]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(door.address, options=options))
        yield Calls(channel, served, context, stop, door.address)


@dataclass(frozen=True)
class Told:
    """What a call that failed says.

    Attributes:
        code: Of the error, as the native API has it; nothing if nobody foresaw it.
    """

    status: grpc.StatusCode
    message: str
    code: str | None
    field: str | None
    retry_after_s: float | None


def told(error: grpc.aio.AioRpcError) -> Told:
    """Return what a call that failed says, details included."""
    details = dict(error.trailing_metadata() or ())
    found = status_pb2.Status.FromString(details["grpc-status-details-bin"])
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    has = {type(each): any(detail.Unpack(each) for detail in found.details) for each in (info, request, retry)}
    assert (found.code, found.message) == (error.code().value[0], error.details())
    return Told(
        status=error.code(),
        message=error.details() or "",
        code=info.metadata["code"] if has[type(info)] else None,
        field=request.field_violations[0].field if has[type(request)] else None,
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if has[type(retry)] else None,
    )
