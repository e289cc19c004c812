import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from tests.support.records import MemoryRecords

from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard, digest_of
from headrace.auth.standing import Standing
from headrace.errors import (
    AccessDenied,
    CallerUnknown,
    HeadraceError,
    KeyEnded,
    KeyUnknown,
    RecordsUnusable,
    RequestInvalid,
    SettingInvalid,
)
from headrace.keyring import Keyring, NewKey, Wanted
from headrace.types import Caller, Scope

INFER = frozenset({Scope.INFER})
ADMIN = Caller("boss", frozenset(Scope))
MANAGER = Caller("manager", frozenset({Scope.INFER, Scope.KEYS}), "acme", frozenset({"a", "b"}))
LEAVES = Wanted(name="job", scopes=INFER)


class World:
    """A keyring, and another replica of it."""

    def __init__(self) -> None:
        self.records = MemoryRecords()
        self.fixed: Sequence[str] | HeadraceError = ()
        self.guard, self.other_guard = KeyGuard(()), KeyGuard(())
        self.keyring = Keyring(self.records, self.guard, self._read, digest_of, Standing())
        self.other = Keyring(self.records, self.other_guard, tuple, digest_of, Standing())

    def _read(self) -> Sequence[str]:
        if isinstance(self.fixed, HeadraceError):
            raise self.fixed
        return self.fixed

    def who(self, made: NewKey | str) -> Caller | None:
        text = made if isinstance(made, str) else made.text
        try:
            return self.guard.identify(Credentials(peer=None, key=text))
        except CallerUnknown:
            return None

    async def actions(self) -> list[str]:
        return [each.action for each in await self.keyring.changes(ADMIN, before=None, limit=99)]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_key_that_was_made_is_admitted_at_once(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    assert world.who(made) == Caller(f"key-{made.key.id}", INFER)
    assert made.text.startswith(f"hr_{made.key.id}_")
    assert await world.actions() == ["key.created"]


async def test_the_key_itself_is_shown_once_and_kept_nowhere(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    secret = made.text.rpartition("_")[2]
    kept = [
        repr(world.records.list_keys()),
        repr(await world.keyring.list_keys(ADMIN, after=None, limit=9)),
        repr(made),
    ]
    assert not [shown for shown in kept if secret in shown or made.text in shown]
    assert (await world.keyring.create(ADMIN, LEAVES)).text != made.text


async def test_a_key_that_was_revoked_is_refused_at_once(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    ended = await world.keyring.revoke(ADMIN, made.key.id)
    assert world.who(made) is None
    assert ended.ends_at is not None
    assert await world.keyring.revoke(ADMIN, made.key.id) == ended
    assert await world.actions() == ["key.revoked", "key.revoked", "key.created"]


async def test_a_rotated_key_may_do_the_same_and_the_old_one_is_good_for_a_while(world: World):
    wanted = Wanted(name="job", scopes=INFER, models=frozenset({"m"}), tenant="acme", lasts_s=1000)
    old = await world.keyring.create(ADMIN, wanted)
    new = await world.keyring.rotate(ADMIN, old.key.id, 60)
    assert world.who(old) is not None
    like = dataclasses.replace(new.key, id=old.key.id, digest=old.key.digest, created_at=old.key.created_at)
    assert like == old.key != new.key
    newest = await world.keyring.rotate(ADMIN, new.key.id, 0)
    assert world.who(new) is None
    assert world.who(newest) is not None


async def test_a_key_that_ended_is_not_rotated(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    await world.keyring.revoke(ADMIN, made.key.id)
    with pytest.raises(KeyEnded, match="has ended"):
        await world.keyring.rotate(ADMIN, made.key.id, 0)


async def test_another_replica_follows(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    await world.other.settle()
    assert world.other_guard.identify(Credentials(peer=None, key=made.text)).name == f"key-{made.key.id}"
    await world.keyring.revoke(ADMIN, made.key.id)
    world.other.start_following(0.001)
    async with asyncio.timeout(10):
        while True:
            try:
                world.other_guard.identify(Credentials(peer=None, key=made.text))
            except CallerUnknown:
                break
            await asyncio.sleep(0.001)
    await world.other.aclose()


async def test_while_the_records_are_gone_known_keys_go_on_and_nothing_changes(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    world.keyring.start_following(0.001)
    with structlog.testing.capture_logs() as lines:
        world.records.is_gone = True
        await asyncio.sleep(0.05)
        assert world.who(made) is not None
        for change in (world.keyring.create(ADMIN, LEAVES), world.keyring.revoke(ADMIN, made.key.id)):
            with pytest.raises(RecordsUnusable):
                await change
        world.records.is_gone = False
        await world.keyring.create(ADMIN, LEAVES)
    await world.keyring.aclose()
    assert len(lines) == 1  # not one each time
    assert lines[0]["event"] == "keys.unread"
    assert await world.actions() == ["key.created", "key.created"]


async def test_keys_of_the_settings_are_read_again(world: World):
    first, second = "0123456789abcdef-one", "0123456789abcdef-two"
    world.fixed = (first,)
    await world.keyring.settle()
    assert world.who(first) is not None
    world.fixed = (second,)
    await world.keyring.settle()
    assert (world.who(first), world.who(second) is not None) == (None, True)
    world.fixed = SettingInvalid("the file is gone")
    with pytest.raises(SettingInvalid):
        await world.keyring.settle()
    assert world.who(second) is not None


async def test_a_file_that_cannot_be_read_keeps_no_revoked_key_known(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    await world.other.revoke(ADMIN, made.key.id)
    world.fixed = SettingInvalid("the file is gone")
    with pytest.raises(SettingInvalid):
        await world.keyring.settle()
    assert world.who(made) is None
    assert world.who(await world.keyring.create(ADMIN, LEAVES)) is not None


async def test_a_key_that_was_made_is_given_also_if_it_cannot_be_read_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    def fail() -> int:
        raise RecordsUnusable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.records, "mark", fail)
        made = await world.keyring.create(ADMIN, LEAVES)
    assert world.who(made) is None
    await world.keyring.settle()
    assert world.who(made) is not None


async def test_keys_come_in_pages(world: World):
    made = [(await world.keyring.create(ADMIN, LEAVES)).key for _ in range(5)]
    first = await world.keyring.list_keys(ADMIN, after=None, limit=2)
    rest = await world.keyring.list_keys(ADMIN, after=first[-1].id, limit=9)
    assert first + rest == made
    with pytest.raises(KeyUnknown, match="'nope'"):
        await world.keyring.list_keys(ADMIN, after="nope", limit=9)


async def test_whoever_may_not_manage_keys_sees_and_does_nothing(world: World):
    made = await world.keyring.create(ADMIN, LEAVES)
    weak = Caller("weak", frozenset(Scope) - {Scope.KEYS, Scope.ADMIN})
    for work in (
        world.keyring.create(weak, LEAVES),
        world.keyring.list_keys(weak, after=None, limit=9),
        world.keyring.show(weak, made.key.id),
        world.keyring.rotate(weak, made.key.id, 0),
        world.keyring.revoke(weak, made.key.id),
        world.keyring.changes(weak, before=None, limit=9),
    ):
        with pytest.raises(AccessDenied):
            await work
    assert await world.actions() == ["key.created"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"scopes": frozenset({Scope.INFER, Scope.MODELS_WRITE})}, "scopes"),
        ({"scopes": frozenset({Scope.ADMIN})}, "scopes"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "other"}, "tenant"),
        ({"models": frozenset({"a", "c"})}, "models"),
    ],
)
async def test_nobody_gives_more_than_they_have(world: World, changed: dict[str, Any], field: str):
    with pytest.raises(AccessDenied) as caught:
        await world.keyring.create(MANAGER, dataclasses.replace(LEAVES, **changed))
    assert caught.value.field == field
    strong = await world.keyring.create(
        ADMIN, dataclasses.replace(Wanted(name="x", scopes=INFER, tenant="acme", models=frozenset({"a"})), **changed)
    )
    with pytest.raises((AccessDenied, KeyUnknown)):  # else a rotation would give it the key
        await world.keyring.rotate(MANAGER, strong.key.id, 0)
    assert await world.actions() == ["key.created"]


async def test_an_admin_of_a_tenant_rules_there_alone(world: World):
    local = Caller("local boss", frozenset(Scope), "acme")
    theirs = (await world.keyring.create(local, dataclasses.replace(LEAVES, scopes=frozenset(Scope)))).key
    ours = (await world.keyring.create(ADMIN, LEAVES)).key
    with pytest.raises(AccessDenied):
        await world.keyring.create(local, dataclasses.replace(LEAVES, tenant="other"))
    assert await world.keyring.list_keys(local, after=None, limit=9) == [theirs]
    assert await world.keyring.list_keys(ADMIN, after=None, limit=9) == [theirs, ours]
    with pytest.raises(KeyUnknown):
        await world.keyring.revoke(local, ours.id)
    assert [each.caller for each in await world.keyring.changes(local, before=None, limit=9)] == ["local boss"]
    assert len(await world.keyring.changes(ADMIN, before=None, limit=9)) == 2


async def test_what_is_left_open_is_as_its_maker_is(world: World):
    made = await world.keyring.create(MANAGER, LEAVES)
    assert (made.key.tenant, made.key.models, made.key.ends_at) == ("acme", frozenset({"a", "b"}), None)


async def test_a_key_ends_when_it_shall(world: World):
    made = await world.keyring.create(ADMIN, dataclasses.replace(LEAVES, lasts_s=3600))
    assert made.key.ends_at is not None
    assert abs(made.key.ends_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": " padded"}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "\udcff"}, "name"),
        ({"tenant": "Not A Name"}, "tenant"),
        ({"tenant": "x" * 64}, "tenant"),
        ({"scopes": frozenset()}, "scopes"),
        ({"models": frozenset()}, "models"),
        ({"models": frozenset({"NOT/A/MODEL"})}, "models"),
        ({"models": frozenset(f"m{number}" for number in range(257))}, "models"),
        ({"lasts_s": -1.0}, "lasts_s"),
        ({"lasts_s": 1e12}, "lasts_s"),
        ({"lasts_s": float("nan")}, "lasts_s"),
        ({"lasts_s": float("inf")}, "lasts_s"),
    ],
)
async def test_what_no_key_can_be_is_refused(world: World, changed: dict[str, Any], field: str):
    with pytest.raises(RequestInvalid) as caught:
        await world.keyring.create(ADMIN, dataclasses.replace(LEAVES, **changed))
    assert caught.value.field == field
    assert not world.records.list_keys()
