"""Reflection: what is served, for clients that have no proto files, such as grpcurl. Whoever may call may ask.

Its first version and ``v1alpha`` have the same messages under two names, and clients try one or the other first.
"""

from collections.abc import AsyncIterator, Iterable, Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import ServiceDescriptor
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
    servicer = aio.ReflectionServicer([*services, *(each.full_name for each in both)])

    async def answer(_exchange: Exchange, messages: AsyncIterator[Message], send: Send) -> None:
        async for message in servicer.ServerReflectionInfo(_as_alpha(messages), None):
            await send(message)

    return {service: {"ServerReflectionInfo": Streamed(answer)} for service in both}


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
