"""Tokens of an identity provider, as a server takes them, and those that servers issue."""

import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.issuer import AUDIENCE, identity_provider
from tests.support.models import add_model
from tests.support.server import Reply, RunningServer, running_server

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.models.store import LocalStore

PASSWORD = "correct horse battery"  # noqa: S105 - made up


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    add_model(LocalStore(tmp_path / "models"), "tiny", seed=0)
    return tmp_path


def status(server: RunningServer, shown: str | None) -> int:
    return server.embed({"inputs": ["w1"]}, headers={"authorization": f"Bearer {shown}"} if shown else {}).status


def test_a_token_opens_what_its_scopes_say_and_the_provider_may_go(home: Path):
    with identity_provider() as provider:
        variables = {"HEADRACE_AUTH__ISSUER": provider.url, "HEADRACE_AUTH__AUDIENCE": AUDIENCE}
        with running_server(home, "tiny", **variables) as server:
            token, weak = provider.sign(), provider.sign(scope="models:read")
            assert status(server, token) == 200
            assert status(server, weak) == 403
            assert status(server, None) == 401  # also from this machine
            assert status(server, provider.sign(aud="other")) == 401
            assert server.request("GET", "/metrics", headers={"authorization": f"Bearer {token}"}).status == 403
            provider.replies["/keys"] = (500, b"")
            assert status(server, provider.sign(sub="bob")) == 200
            server.stop()
            logged = server.log.read_text()
            assert "token-ada" in logged
            assert token not in logged


def headrace(home: Path, *arguments: str, stdin: str = "") -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments, "--json"],
        env={**environment, "HEADRACE_STORE__HOME": str(home)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def get_token(server: RunningServer, **form: str) -> Reply:
    body = urllib.parse.urlencode(form).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return server.request("POST", "/api/v1/token", body, headers)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_replicas_take_each_others_tokens_until_they_are_revoked(own_home: Path):
    headrace(own_home, "signing-keys", "create", str(own_home / "signing.pem"))
    headrace(own_home, "users", "create", "ada", stdin=PASSWORD)
    key = headrace(own_home, "keys", "create", "job")
    variables = {
        "HEADRACE_AUTH__SIGNING_KEYS": str(own_home / "signing.pem"),
        "HEADRACE_SERVER__GRPC_PORT": "0",
        "HEADRACE_LOG__LEVEL": "debug",
    }
    with running_server(own_home, "tiny", **variables) as here, running_server(own_home, "tiny", **variables) as there:
        assert status(here, None) == 401
        login = get_token(here, grant_type="password", username="ada", password=PASSWORD).json()
        of_key = get_token(there, grant_type="client_credentials", client_id=key["id"], client_secret=key["key"]).json()
        tokens = [login["access_token"], of_key["access_token"]]
        assert [status(server, token) for server in (here, there) for token in tokens] == [200] * 4
        with grpc.insecure_channel(there.grpc) as channel:
            call: Any = channel.unary_unary(
                "/headrace.v1.Inference/Embed",
                request_serializer=pb.EmbedRequest.SerializeToString,
                response_deserializer=pb.EmbedResponse.FromString,
            )
            metadata = (("authorization", f"Bearer {tokens[0]}"),)
            assert len(call(pb.EmbedRequest(inputs=["w1"]), timeout=20, metadata=metadata).results) == 1
        second = get_token(there, grant_type="refresh_token", refresh_token=login["refresh_token"])
        assert second.status == 200
        # A new key is added, signs, and stays alone; nobody is logged out who does not come back in between.
        headrace(own_home, "signing-keys", "create", str(own_home / "new.pem"), "--algorithm", "EdDSA")
        old, new = ((own_home / name).read_text() for name in ("signing.pem", "new.pem"))
        for content, listed in ((old + new, 2), (new + old, 2), (new, 1)):
            (own_home / "signing.pem").write_text(content)
            for server in (here, there):
                until(lambda server=server, listed=listed: keys_of(server) == listed)  # type: ignore[misc]
        until(lambda: status(here, tokens[0]) == 401)
        third = get_token(here, grant_type="refresh_token", refresh_token=second.json()["refresh_token"]).json()
        assert status(there, third["access_token"]) == 200
        # Reuse at one replica ends the login at all.
        assert get_token(there, grant_type="refresh_token", refresh_token=login["refresh_token"]).status == 400
        until(lambda: status(here, third["access_token"]) == 401)
        for server in (here, there):
            server.stop()
            logged = server.log.read_text()
            assert "user-ada" in logged
            for secret in (PASSWORD, key["key"], *tokens, login["refresh_token"], third["access_token"]):
                assert secret not in logged


def keys_of(server: RunningServer) -> int:
    return len(server.request("GET", "/.well-known/jwks.json").json()["keys"])
