from tests.contracts.auth import GuardContract

from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard
from headrace.auth.loopback import LoopbackGuard

KEY = "0123456789abcdef-made-up"
OTHER = "another-key-that-is-made-up"


class TestLoopbackGuard(GuardContract):
    good = Credentials(peer="127.0.0.1", key=KEY)
    bad = (Credentials(peer="192.0.2.1"), Credentials(peer="192.0.2.1", key=KEY), Credentials(peer=None))

    def make_guard(self) -> LoopbackGuard:
        return LoopbackGuard()


class TestKeyGuard(GuardContract):
    good = Credentials(peer="192.0.2.1", key=KEY)
    bad = (
        Credentials(peer="127.0.0.1"),
        Credentials(peer="127.0.0.1", key=OTHER),
        Credentials(peer=None, key=KEY[:-1]),
    )

    def make_guard(self) -> KeyGuard:
        return KeyGuard([KEY])


class TestKeyGuardBeforeTheFirstKey(TestLoopbackGuard):
    def make_guard(self) -> KeyGuard:  # type: ignore[override]
        return KeyGuard([], LoopbackGuard())
