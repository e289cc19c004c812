import socket

import pytest

from headrace.api.rest.server import base_url, bind
from headrace.errors import PortTaken, SettingInvalid
from headrace.settings import ServerSettings


def test_a_port_in_use_is_known_when_it_is_bound():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="choose another --port"):
        bind(ServerSettings(port=taken.getsockname()[1]))


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "256.256.256.256", "no-such-host.invalid"])
def test_a_host_that_cannot_be_used_is_named(host: str):
    with pytest.raises(SettingInvalid, match=host[:20]):
        bind(ServerSettings(host=host, port=0))


ALL = "0.0.0.0"  # noqa: S104 - bound for a moment, and nothing listens


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), (ALL, "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
def test_the_url_is_one_that_can_be_called_from_here(host: str, shown: str):
    with bind(ServerSettings(host=host, port=0)) as listener:
        assert base_url(listener) == f"http://{shown}:{listener.getsockname()[1]}"
