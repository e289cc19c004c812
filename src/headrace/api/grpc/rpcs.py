"""What an RPC is here, and how gRPC calls it: guarded, parsed, answered or refused, and told of.

Messages come and go as bytes. gRPC itself would answer ``INTERNAL`` to one that cannot be parsed, and would parse one
before anybody could say that the server is full, or that the caller is unknown.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from headrace.api.context import Context
from headrace.api.grpc.exchange import Exchange, Rpc
from headrace.errors import RequestMalformed

M = TypeVar("M", bound=Message)
Send = Callable[[Message], Awaitable[None]]

# Requests of a stream that are worked on at the same time: two batches of single short texts keep a session busy while
# the next are read, and 16 of the largest are 32 MiB.
_WINDOW: Final = 16


@dataclass(frozen=True, slots=True)
class Unary:
    """An RPC of one message and one answer.

    Attributes:
        answer: Returns the answer.
        needs_engine: Whether it is refused at once while every queue is full.
        is_open: Whether anybody may call it: it tells nothing of this server but that it is there.
    """

    answer: Callable[[Exchange, Any], Awaitable[Message]]
    needs_engine: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """An RPC whose answers are a stream.

    Attributes:
        run: Reads messages, and sends answers.
        is_open: As of ``Unary``.
    """

    run: Callable[[Exchange, AsyncIterator[Any], Send], Awaitable[None]]
    is_open: bool = False


Declared = Unary | Streamed
Declarations = Mapping[ServiceDescriptor, Mapping[str, Declared]]


class GuardedHandlers(grpc.GenericRpcHandler):
    """Everything that a server answers: each RPC of the services, and nothing else.

    Args:
        context: What the doors share.
        declared: The RPCs of each service by their names.

    Raises:
        KeyError: A service has an RPC that nobody declared.
    """

    def __init__(self, context: Context, declared: Declarations) -> None:
        self._handlers = {
            f"/{service.full_name}/{method.name}": _make_handler(context, method, rpcs[method.name])
            for service, rpcs in declared.items()
            for method in service.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return what answers a method, of exactly this name."""
        return self._handlers.get(handler_call_details.method)


def parse(shape: type[M], data: bytes) -> M:
    """Return a message.

    Raises:
        RequestMalformed: The bytes are none, or hold a string that is no UTF-8.
    """
    try:
        return shape.FromString(data)
    except DecodeError as error:
        raise RequestMalformed(f"the message is no {shape.DESCRIPTOR.full_name}; send one as proto/ has it") from error


def answer_each(
    answer: Callable[[Exchange, Any], Awaitable[Message]], *, in_order: bool
) -> Callable[[Exchange, AsyncIterator[Any], Send], Awaitable[None]]:
    """Return what answers each message of a stream, some at a time: one that has to wait is not read.

    Args:
        answer: Returns the answer to one message; an error ends the stream.
        in_order: Whether answers wait for those to messages before them.
    """

    async def run(exchange: Exchange, messages: AsyncIterator[Any], send: Send) -> None:
        places = asyncio.Semaphore(_WINDOW)

        async def work(message: Any, before: asyncio.Task[None] | None) -> None:
            try:
                exchange.identify()  # a key may have ended since the last message
                made = await answer(exchange, message)
                if before is not None:
                    await before
                await send(made)
            finally:
                places.release()

        async with asyncio.TaskGroup() as tasks:
            last: asyncio.Task[None] | None = None
            await places.acquire()
            async for message in messages:
                last = tasks.create_task(work(message, last if in_order else None))
                await places.acquire()

    return run


def _make_handler(context: Context, method: MethodDescriptor, declared: Declared) -> "grpc.RpcMethodHandler[Any, Any]":
    path = f"{method.containing_service.full_name}/{method.name}"
    shape = GetMessageClass(method.input_type)
    if isinstance(declared, Unary):
        return grpc.unary_unary_rpc_method_handler(_unary(context, path, shape, declared))
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(_stream(context, path, shape, declared))
    return grpc.unary_stream_rpc_method_handler(_stream(context, path, shape, declared))


def _unary(
    context: Context, path: str, shape: type[Message], declared: Unary
) -> Callable[[bytes, Rpc], Awaitable[bytes]]:
    async def handle(data: bytes, rpc: Rpc) -> bytes:
        exchange = Exchange(context, path, rpc)
        try:
            if declared.needs_engine:
                context.service.refuse_if_full(len(data))
            if not declared.is_open:
                exchange.identify()
            made = (await declared.answer(exchange, parse(shape, data))).SerializeToString()
        except BaseException as error:  # noqa: BLE001 - the last line: the client gets a status, the log gets the rest
            await exchange.fail(error)
        exchange.succeed()
        return made

    return handle


def _stream(
    context: Context, path: str, shape: type[Message], declared: Streamed
) -> Callable[[bytes | AsyncIterator[bytes], Rpc], Awaitable[None]]:
    async def handle(given: bytes | AsyncIterator[bytes], rpc: Rpc) -> None:
        exchange, writing = Exchange(context, path, rpc), asyncio.Lock()

        async def send(message: Message) -> None:
            async with writing:
                await exchange.send(message.SerializeToString())

        try:
            if not declared.is_open:
                exchange.identify()
            await declared.run(exchange, _read(shape, given), send)
        except BaseException as error:  # noqa: BLE001 - as above
            await exchange.fail(_first(error))
        exchange.succeed()

    return handle


async def _read(shape: type[M], given: bytes | AsyncIterator[bytes]) -> AsyncIterator[M]:
    if isinstance(given, bytes):
        yield parse(shape, given)
        return
    async for data in given:
        yield parse(shape, data)


def _first(error: BaseException) -> BaseException:
    """Return the error that ended a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
