"""Tokens of an identity provider, as a server takes them."""

from pathlib import Path

from tests.support.issuer import AUDIENCE, identity_provider
from tests.support.server import RunningServer, running_server


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
