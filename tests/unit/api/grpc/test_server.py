"""The server itself: its port, and the contracts it was made from."""

import sys

import pytest
from scripts import protos
from tests.support.calls import open_calls

from headrace import adapters
from headrace.api.grpc.server import GrpcServer
from headrace.errors import DependencyMissing, PortTaken
from headrace.settings import ServerSettings


async def test_a_port_that_is_taken_is_told():
    async with open_calls() as calls:
        port = int(calls.address.rpartition(":")[2])
        with pytest.raises(PortTaken, match=f"{port}.*--grpc-port"):
            GrpcServer(ServerSettings(grpc_port=port))


async def test_an_address_of_the_other_kind():
    server = GrpcServer(ServerSettings(host="::1", grpc_port=0))
    assert server.address == f"[::1]:{server.port}"


def test_without_a_port_there_is_no_door():
    assert adapters.bind_grpc(ServerSettings(), None) is None


def test_without_what_speaks_it_that_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "headrace.api.grpc.server", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(DependencyMissing, match=r"headrace\[grpc\]"):
        adapters.bind_grpc(ServerSettings(grpc_port=0), None)


def test_the_messages_are_those_of_the_contracts():
    assert protos.stale_files(protos.generate(), protos.FOLDER) == []


def test_messages_of_another_contract_are_found():
    made = protos.generate()
    assert protos.stale_files({**made, "headrace_pb2.py": "", "gone_pb2.py": ""}, protos.FOLDER) == [
        "gone_pb2.py",
        "headrace_pb2.py",
    ]
