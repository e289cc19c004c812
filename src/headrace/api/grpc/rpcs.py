"""What an RPC is here, and how gRPC calls it: guarded, parsed, answered or refused, and told of.

Messages come and go as bytes. gRPC itself would answer ``INTERNAL`` to one that cannot be parsed, and would parse one
before anybody could say that the server is full, or that the caller is unknown.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from headrace.api.context import Context
from headrace.api.grpc.exchange import Exchange, Rpc
from headrace.api.streams import work_through
from headrace.errors import RequestMalformed, ServiceStopping

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Send = Callable[[Message], Awaitable[None]]


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


class Gate:
    """Whether calls come in. Single owner: the event loop."""

    def __init__(self) -> None:
        self._shut = asyncio.Event()

    def shut(self) -> None:
        """Turn away calls that come from now on, and read no further in streams."""
        self._shut.set()

    def require_open(self) -> None:
        """Let a call in.

        Raises:
            ServiceStopping: It comes too late.
        """
        if self._shut.is_set():
            raise ServiceStopping("the server stops; ask again, elsewhere or later", retry_after_s=1)

    async def before_shut(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what work returns; nothing if the gate is shut first."""
        shutting, working = asyncio.ensure_future(self._shut.wait()), asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {shutting, working}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            shutting.cancel()
            working.cancel()


class GuardedHandlers(grpc.GenericRpcHandler):
    """Everything that a server answers: each RPC of the services, and nothing else.

    Args:
        context: What the doors share.
        declared: The RPCs of each service by their names.

    Attributes:
        gate: Through which calls come.

    Raises:
        KeyError: A service has an RPC that nobody declared.
    """

    def __init__(self, context: Context, declared: Declarations) -> None:
        self.gate = Gate()
        self._handlers = {
            f"/{service.full_name}/{method.name}": _Handler(context, self.gate, method).make(rpcs[method.name])
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
        last: asyncio.Future[None] | None = None

        async def work(message: Any) -> None:
            nonlocal last
            before, mine = last, asyncio.get_running_loop().create_future()
            last = mine
            exchange.identify()  # a key may have ended since the last message
            made = await answer(exchange, message)
            if in_order and before is not None:
                await before
            await send(made)
            mine.set_result(None)

        await work_through(messages, work)

    return run


class _Handler:
    """What gRPC calls for an RPC."""

    def __init__(self, context: Context, gate: Gate, method: MethodDescriptor) -> None:
        self._context = context
        self._gate = gate
        self._path = f"{method.containing_service.full_name}/{method.name}"
        self._shape = GetMessageClass(method.input_type)
        self._reads_many = method.client_streaming

    def make(self, declared: Declared) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return it."""
        if isinstance(declared, Unary):
            return grpc.unary_unary_rpc_method_handler(self._unary(declared))
        if self._reads_many:
            return grpc.stream_stream_rpc_method_handler(self._stream(declared))
        return grpc.unary_stream_rpc_method_handler(self._stream(declared))

    def _unary(self, declared: Unary) -> Callable[[bytes, Rpc], Awaitable[bytes]]:
        async def handle(data: bytes, rpc: Rpc) -> bytes:
            exchange = Exchange(self._context, self._path, rpc)
            try:
                self._gate.require_open()
                if declared.needs_engine:
                    self._context.service.refuse_if_full(len(data), exchange.tenant)
                if not declared.is_open:
                    exchange.identify()
                made = (await declared.answer(exchange, parse(self._shape, data))).SerializeToString()
            except BaseException as error:  # noqa: BLE001 - the last line: a status for the client, the rest for the log
                await exchange.fail(error)
            exchange.succeed()
            return made

        return handle

    def _stream(self, declared: Streamed) -> Callable[[object, Rpc], Awaitable[None]]:
        async def handle(given: object, rpc: Rpc) -> None:
            exchange, writing = Exchange(self._context, self._path, rpc), asyncio.Lock()
            incoming = _Incoming(self._gate, self._shape, given, rpc)

            async def send(message: Message) -> None:
                async with writing:
                    await exchange.send(message.SerializeToString())

            try:
                self._gate.require_open()
                if not declared.is_open:
                    exchange.identify()
                await declared.run(exchange, incoming.read(), send)
                if incoming.was_cut:
                    self._gate.require_open()
            except BaseException as error:  # noqa: BLE001 - as above
                await exchange.fail(error)
            exchange.succeed()

        return handle


class _Incoming:
    """The messages of a call.

    Attributes:
        was_cut: Whether the gate was shut before there were no more.
    """

    def __init__(self, gate: Gate, shape: type[Message], given: object, rpc: Rpc) -> None:
        self._gate = gate
        self._shape = shape
        self._given = given
        self._rpc = rpc
        self.was_cut = False

    async def read(self) -> AsyncIterator[Message]:
        """Yield them, until there are no more, or no more are read."""
        if isinstance(self._given, bytes):
            yield parse(self._shape, self._given)
            return
        while (data := await self._gate.before_shut(self._rpc.read())) is not None:
            if data is grpc.aio.EOF:
                return
            yield parse(self._shape, data)
        self.was_cut = True
