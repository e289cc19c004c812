import pytest

from headrace.auth.base import Credentials, require
from headrace.errors import AccessDenied
from headrace.types import Caller, Scope


def test_a_caller_with_the_scope_passes() -> None:
    require(Caller("ada", frozenset({Scope.INFER})), Scope.INFER)


def test_a_caller_without_the_scope_is_told_which_one() -> None:
    with pytest.raises(AccessDenied, match="'ada' may not use 'metrics:read'"):
        require(Caller("ada", frozenset({Scope.INFER})), Scope.METRICS_READ)


def test_credentials_do_not_show_their_key() -> None:
    assert "made-up" not in repr(Credentials(peer="127.0.0.1", key="made-up"))
