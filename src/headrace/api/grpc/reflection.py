"""Reflection: what is served, for clients that have no proto files, such as grpcurl. Whoever may call may ask.

Its first version and ``v1alpha`` have the same messages under two names, and clients try one or the other first.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import aio

from headrace.api.grpc.exchange import Exchange
from headrace.api.grpc.rpcs import Declared, Send, Streamed


def reflect(services: Iterable[str]) -> Mapping[ServiceDescriptor, Mapping[str, Declared]]:
    """Return the RPCs.

    Args:
        services: Full names of those that are served.
    """
    alpha = pb.DESCRIPTOR.services_by_name["ServerReflection"]
    both = [alpha, _first_version()]
    servicer = aio.ReflectionServicer([*services, *(each.full_name for each in both)], _Pool())

    async def answer(_exchange: Exchange, messages: AsyncIterator[Message], send: Send) -> None:
        async for message in servicer.ServerReflectionInfo(_as_alpha(messages), None):
            await send(message)

    return {service: {"ServerReflectionInfo": Streamed(answer)} for service in both}


class _Pool:
    """What is served, by names: those of methods too, which the protocol has and protobuf's own pool does not find."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name for it
        """Return the file that says what a name is; raises ``KeyError`` if none does."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


async def _as_alpha(messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for message in messages:
        yield pb.ServerReflectionRequest.FromString(message.SerializeToString())


def _first_version() -> ServiceDescriptor:
    """Return the service that ``v1alpha`` became, made of the same file under its other name."""
    pool, file = descriptor_pool.Default(), descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    file.ClearField("options")
    renamed = text_format.Parse(str(file).replace("v1alpha", "v1"), descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(renamed.SerializeToString())  # the same again changes nothing
    return pool.FindServiceByName("grpc.reflection.v1.ServerReflection")
