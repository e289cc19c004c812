"""What every guard must do."""

import pytest

from headrace.auth.base import Credentials, Guard
from headrace.errors import CallerUnknown
from headrace.types import Scope


class GuardContract:
    """Inherit, make the guard, and say whom it admits and whom it refuses."""

    good: Credentials
    bad: tuple[Credentials, ...]

    def make_guard(self) -> Guard:
        """Return a guard."""
        raise NotImplementedError

    def test_a_known_caller_has_a_name_and_every_scope(self) -> None:
        caller = self.make_guard().identify(self.good)
        assert caller.name
        assert caller.scopes == frozenset(Scope)

    def test_the_same_credentials_are_the_same_caller(self) -> None:
        guard = self.make_guard()
        assert guard.identify(self.good) == guard.identify(self.good)

    def test_everybody_else_is_refused_and_told_what_to_do(self) -> None:
        guard = self.make_guard()
        for credentials in self.bad:
            with pytest.raises(CallerUnknown) as caught:
                guard.identify(credentials)
            assert "API key" in caught.value.message

    def test_nothing_that_is_shown_holds_a_key(self) -> None:
        guard = self.make_guard()
        shown = [repr(guard), repr(self.good), str(self.good), repr(guard.identify(self.good))]
        for credentials in self.bad:
            with pytest.raises(CallerUnknown) as caught:
                guard.identify(credentials)
            shown += [repr(caught.value), caught.value.message, repr(credentials)]
        keys = [credentials.key for credentials in (self.good, *self.bad) if credentials.key]
        assert not [key for key in keys for line in shown if key in line]
