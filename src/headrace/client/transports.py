"""Which transport an address asks for."""

from collections.abc import Callable

from headrace.client.address import Address
from headrace.client.base import Transport
from headrace.client.rest import RestTransport
from headrace.errors import DependencyMissing


def choose_transport(address: Address) -> Callable[[], Transport]:
    """Return what opens a way to an address.

    Raises:
        DependencyMissing: It is one of gRPC, which is not installed.
    """
    if not address.is_grpc:
        return lambda: RestTransport(address)
    try:
        from headrace.client.grpc import GrpcTransport  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            f"{address.url} is an address of gRPC, which is not installed; run: pip install 'headrace[grpc]'"
        ) from error
    return lambda: GrpcTransport(address)
