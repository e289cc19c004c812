import pytest

from headrace.auth.base import Credentials
from headrace.auth.loopback import LoopbackGuard
from headrace.errors import CallerUnknown


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"])
def test_this_machine_is_admitted_as_local(peer: str) -> None:
    assert LoopbackGuard().identify(Credentials(peer=peer)).name == "local"


@pytest.mark.parametrize(
    "peer",
    [
        "128.0.0.1",
        "10.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:10.0.0.1",
        "fe80::1",
        "localhost",
        "127.0.0.1.evil",
        "",
        None,
    ],
)
def test_every_other_peer_is_refused(peer: str | None) -> None:
    with pytest.raises(CallerUnknown, match="HEADRACE_AUTH__KEYS"):
        LoopbackGuard().identify(Credentials(peer=peer))


def test_a_key_nobody_configured_does_not_matter() -> None:
    assert LoopbackGuard().identify(Credentials(peer="::1", key="whatever")).name == "local"
