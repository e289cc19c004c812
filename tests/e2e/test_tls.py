"""TLS at both doors of the real server: who is let in, and a certificate that is renewed while it serves."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.certificates import Authority, Issued
from tests.support.server import RunningServer, running_server, wait_until

import headrace
from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.errors import ServerUnreachable


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("server")


def variables(issued: Issued, **more: str) -> dict[str, str]:
    files = {"HEADRACE_SERVER__TLS_CERTIFICATE": str(issued.certificate), "HEADRACE_SERVER__TLS_KEY": str(issued.key)}
    return {**files, "HEADRACE_SERVER__GRPC_PORT": "0", **more}


@pytest.fixture(scope="module")
def server(home: Path, issued: Issued) -> Iterator[RunningServer]:
    with running_server(home, "tiny", **variables(issued)) as running:
        yield running


@pytest.fixture(scope="module")
def strict(home: Path, issued: Issued, authority: Authority) -> Iterator[RunningServer]:
    clients = str(authority.certificate)
    with running_server(home, "tiny", **variables(issued, HEADRACE_SERVER__TLS_CLIENTS=clients)) as running:
        yield running


def trust(authority: Authority, shown: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


def over_rest(server: RunningServer, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
    try:
        connection.request(
            "POST", "/api/v1/embed", json.dumps({"inputs": ["w1"]}), {"content-type": "application/json"}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def over_grpc(server: RunningServer, authority: Authority, shown: Issued | None = None) -> str:
    pair = (shown.key.read_bytes(), shown.certificate.read_bytes()) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(server.grpc, credentials, options=options) as channel:
        call: Any = channel.unary_unary("/headrace.v1.Inference/Embed")
        data = call(pb.EmbedRequest(inputs=["w1"]).SerializeToString(), timeout=10)
        return pb.EmbedResponse.FromString(data).model


def over_client(url: str, **files: Any) -> tuple[int, ...]:
    with headrace.Client(url, retries=0, timeout_s=10, **files) as client:
        return client.embed(["w1"]).shape


def serial_of(server: RunningServer, authority: Authority) -> Any:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        trust(authority).wrap_socket(plain, server_hostname="localhost") as safe,
    ):
        found: Any = safe.getpeercert()
        return found["serialNumber"]


def test_both_doors_speak_it(server: RunningServer, authority: Authority):
    assert over_rest(server, trust(authority)) == 200
    assert over_grpc(server, authority) == "tiny"


def test_neither_speaks_without_it(server: RunningServer):
    assert not server.send_raw(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").startswith(b"HTTP")
    with grpc.insecure_channel(server.grpc) as channel:
        call: Any = channel.unary_unary("/headrace.v1.Inference/Embed")
        with pytest.raises(grpc.RpcError):
            call(b"", timeout=2)


def test_what_is_no_hello_ends_nothing(server: RunningServer, authority: Authority):
    for data in (b"", b"\x16", b"\x16\x03\x01\xff\xff" + bytes(65535), b"\x16\x03\x01\x00\x05hello", bytes(100)):
        with server.connect() as connection:
            connection.sendall(data)
    assert over_rest(server, trust(authority)) == 200
    log = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    assert [line for line in log if line["level"] == "error"] == []


def test_an_old_version_is_not_spoken(server: RunningServer, authority: Authority):
    context = trust(authority)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        over_rest(server, context)


def test_a_refused_request_is_told_over_it_as_well(server: RunningServer, authority: Authority):
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        trust(authority).wrap_socket(plain, server_hostname="localhost") as safe,
    ):
        safe.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n")
        assert safe.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_the_client_trusts_the_authority_it_is_given(server: RunningServer, authority: Authority, tmp_path: Path):
    foreign = Authority(tmp_path, "foreign")
    for url in (f"https://127.0.0.1:{server.port}", f"grpcs://{server.grpc}"):
        assert over_client(url, authorities=authority.certificate) == (1, 8)
        for others in ({}, {"authorities": str(foreign.certificate)}):
            with pytest.raises(ServerUnreachable):
                over_client(url, **others)


def test_the_client_shows_a_certificate(strict: RunningServer, authority: Authority, tmp_path: Path):
    known, foreign = authority.issue("client"), Authority(tmp_path, "foreign").issue("somebody")
    for url in (f"https://127.0.0.1:{strict.port}", f"grpcs://{strict.grpc}"):
        files = {"authorities": authority.certificate}
        assert over_client(url, **files, certificate=(known.certificate, known.key)) == (1, 8)
        for others in ({}, {"certificate": (foreign.certificate, foreign.key)}):
            with pytest.raises(ServerUnreachable):
                over_client(url, **files, **others)


def test_only_who_shows_a_certificate_is_let_in(strict: RunningServer, authority: Authority, tmp_path: Path):
    known, foreign = authority.issue("client"), Authority(tmp_path, "foreign").issue("somebody")
    assert over_rest(strict, trust(authority, known)) == 200
    assert over_grpc(strict, authority, known) == "tiny"
    for shown in (None, foreign):
        with pytest.raises((OSError, http.client.HTTPException)):
            over_rest(strict, trust(authority, shown))
        with pytest.raises(grpc.RpcError):
            over_grpc(strict, authority, shown)


def test_a_certificate_is_renewed_while_it_serves(home: Path, authority: Authority):
    issued = authority.issue("short")
    with running_server(home, "tiny", **variables(issued)) as server:
        before = serial_of(server, authority)
        assert over_grpc(server, authority) == "tiny"
        renewed = authority.issue("longer")
        renewed.key.replace(issued.key)
        renewed.certificate.replace(issued.certificate)
        wait_until(lambda: serial_of(server, authority) != before)
        assert over_rest(server, trust(authority)) == 200
        assert over_grpc(server, authority) == "tiny"
