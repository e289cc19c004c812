import threading
from unittest import mock

import pytest

from headrace.auth import passwords as module
from headrace.auth.passwords import Passwords
from headrace.errors import QueueFull, RequestInvalid

PASSWORD = "correct horse battery"  # noqa: S105 - made up


async def test_a_password_matches_what_was_made_of_it_and_nothing_else():
    passwords = Passwords()
    verifier = await passwords.make_verifier(PASSWORD)
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verifier != await passwords.make_verifier(PASSWORD)
    assert await passwords.match(PASSWORD, verifier)
    for other in ("", PASSWORD[:-1], PASSWORD + "\x00", "x" * 10_000, "\ud800"):
        assert not await passwords.match(other, verifier)
    assert not await passwords.match(PASSWORD, "no verifier")


async def test_a_letter_is_the_same_in_whichever_way_it_is_typed():
    passwords = Passwords()
    verifier = await passwords.make_verifier("na\u00efve enough it is")
    assert await passwords.match("nai\u0308ve enough it is", verifier)


@pytest.mark.parametrize("password", ["", "x" * 11, "x" * 257])
async def test_a_password_is_neither_short_nor_endless(password: str):
    with pytest.raises(RequestInvalid) as caught:
        await Passwords().make_verifier(password)
    assert caught.value.field == "password"
    assert "12 to 256" in caught.value.message


async def test_nobodys_password_is_looked_at_as_long_as_anybodys():
    passwords = Passwords()
    with mock.patch.object(module, "_verify", side_effect=module._verify) as verify:
        assert not await passwords.match(PASSWORD, None)
        assert not await passwords.match("x" * 10_000, None)
    verifiers = [call.args[0] for call in verify.call_args_list]
    assert len(verifiers) == 2
    assert {verifier.rpartition("$")[0].rpartition("$")[0] for verifier in verifiers} == {
        "$argon2id$v=19$m=19456,t=2,p=1"
    }


async def test_few_are_looked_at_at_once_in_threads_and_few_wait():
    passwords = Passwords()
    passwords._gate._most = 0
    with pytest.raises(QueueFull):
        await passwords.match(PASSWORD, None)
    passwords._gate._most = 1
    seen = []
    with mock.patch.object(module, "_verify", side_effect=lambda *_: seen.append(threading.current_thread())):
        await passwords.match(PASSWORD, None)
    assert seen != [threading.main_thread()]
