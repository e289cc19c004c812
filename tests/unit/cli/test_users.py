import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.auth.passwords import Passwords
from headrace.records.accounts import User
from headrace.records.sql import SqlRecords
from headrace.types import Scope

PASSWORD = "correct horse battery"  # noqa: S105 - made up


def users_of(home: Path) -> list[User]:
    records = SqlRecords(home / "records.sqlite3")
    try:
        return records.list_users()
    finally:
        records.close()


def told(result: Any) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_user_that_is_made_here_is_one_for_a_server(run: Any, home: Path):
    made = told(run("users", "create", "ada", "--model", "m", "--json", stdin=f"{PASSWORD}\nmore\n"))
    (user,) = users_of(home)
    assert (user.id, user.name, user.scopes, user.models) == (
        made["id"],
        "ada",
        frozenset({Scope.INFER}),
        frozenset({"m"}),
    )
    assert asyncio.run(Passwords().match(PASSWORD, user.verifier))


def test_users_are_listed_given_passwords_and_removed(run: Any, home: Path):
    assert "make one: headrace users create" in run("users", "list").stderr
    assert "made    ada" in run("users", "create", "ada", "--scope", "keys", stdin=PASSWORD).stdout.splitlines()
    (before,) = users_of(home)
    assert run("users", "password", "ada", stdin="another password\r\n").exit_code == 0
    (after,) = users_of(home)
    assert (after.id, after.verifier == before.verifier) == (before.id, False)
    assert run("users", "list").stdout.splitlines()[0].split()[:2] == ["NAME", "TENANT"]
    assert [user["name"] for user in told(run("users", "list", "--json"))] == ["ada"]
    assert run("users", "remove", "ada").exit_code == 0
    assert users_of(home) == []
    actions = [change["action"] for change in told(run("keys", "changes", "--json"))]
    assert actions == ["user.removed", "user.password", "user.created"]


def test_no_password_is_shown_and_none_is_an_argument(run: Any):
    result = run("users", "create", "ada", stdin=PASSWORD)
    assert PASSWORD not in result.stdout + result.stderr
    assert "password" not in run("users", "create", "--help").stdout.lower().replace("the password is asked", "")
    assert run("users", "create", "bob", PASSWORD, stdin=PASSWORD).exit_code == 2


@pytest.mark.parametrize(
    ("args", "given", "word"),
    [
        (("create", "Ada"), PASSWORD, "request.invalid"),
        (("create", "ada"), "", "no password came on standard input"),
        (("create", "ada"), "canary\n", "the password has 6 characters"),
        (("create", "ada", "--scope", "fly"), PASSWORD, "--scope cannot be 'fly'"),
        (("password", "nobody"), PASSWORD, "user.unknown"),
        (("remove", "nobody"), "", "user.unknown"),
    ],
)
def test_what_cannot_be_is_told(run: Any, args: tuple[str, ...], given: str, word: str):
    result = run("users", *args, stdin=given)
    assert result.exit_code != 0
    assert word in result.stderr
    assert "canary" not in result.stderr


def test_without_what_looks_at_passwords_that_is_told(run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "headrace.auth.passwords", raising=False)
    monkeypatch.setitem(sys.modules, "argon2", None)
    result = run("users", "create", "ada", stdin=PASSWORD)
    assert "pip install 'headrace[tokens]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_copies_have_users_too(run: Any, home: Path, tmp_path: Path):
    run("users", "create", "ada", stdin=PASSWORD)
    assert run("records", "backup", str(tmp_path / "copy")).exit_code == 0
    assert run("records", "restore", str(tmp_path / "copy"), "--home", str(tmp_path / "other")).exit_code == 0
    assert users_of(tmp_path / "other") == users_of(home)


def test_on_a_terminal_a_password_is_typed_twice_unseen(run: Any, home: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def prompt(_text: str, **how: Any) -> str:
        asked.append(how)
        return PASSWORD

    monkeypatch.setattr("headrace.cli.users.typer.prompt", prompt)
    monkeypatch.setattr("headrace.cli.users._is_terminal", lambda: True)
    assert run("users", "create", "ada").exit_code == 0
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]
    assert len(users_of(home)) == 1
