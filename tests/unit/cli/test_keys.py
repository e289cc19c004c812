import json
from pathlib import Path
from typing import Any

import pytest

from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard
from headrace.records.sql import SqlRecords
from headrace.types import Caller, Scope


def told(result: Any) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_key_that_is_made_here_is_one_for_a_server(run: Any, home: Path):
    made = told(run("keys", "create", "job", "--scope", "infer", "--scope", "keys", "--model", "m", "--json"))
    records, guard = SqlRecords(home / "records.sqlite3"), KeyGuard(())
    guard.learn_kept(records.list_keys())
    records.close()
    caller = guard.identify(Credentials(peer=None, key=made["key"]))
    assert caller == Caller(f"key-{made['id']}", frozenset({Scope.INFER, Scope.KEYS}), "", frozenset({"m"}))


def test_the_key_is_shown_alone_on_its_line_and_a_hint_beside(run: Any):
    result = run("keys", "create", "nightly job", "--days", "30", "--tenant", "acme")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("hr_")]
    assert "scopes  infer" in lines
    assert result.stderr == "this is the key; it is not kept, and cannot be shown again\n"


def test_keys_are_listed_rotated_and_revoked(run: Any):
    assert "make one: headrace keys create" in run("keys", "list").stderr
    old = told(run("keys", "create", "job", "--json"))
    new = told(run("keys", "rotate", old["id"], "--grace-hours", "1", "--json"))
    revoked = run("keys", "revoke", new["id"])
    assert "is over" in revoked.stdout
    listed = told(run("keys", "list", "--json"))
    assert [key["id"] for key in listed] == [old["id"], new["id"]]
    assert all(key["ends_at"] for key in listed)
    table = run("keys", "list").stdout.splitlines()
    assert table[0].split()[:2] == ["ID", "NAME"]
    assert table[2].endswith("is over")


def test_changes_say_who_did_what(run: Any):
    assert run("keys", "changes").stderr == "nothing was changed yet\n"
    made = told(run("keys", "create", "job", "--json"))
    (change,) = told(run("keys", "changes", "--json"))
    assert (change["action"], change["subject"]) == ("key.created", made["id"])
    assert change["caller"].startswith("shell:")
    assert made["id"] in run("keys", "changes").stdout


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("create", "job", "--scope", "fly"), 2, "setting.invalid: --scope cannot be 'fly'; there are infer"),
        (("create", "\x1b[31m"), 1, "request.invalid"),
        (("create", "job", "--days", "-1"), 1, "request.invalid"),
        (("revoke", "nope"), 1, "key.unknown"),
        (("rotate", "nope"), 1, "key.unknown"),
    ],
)
def test_what_cannot_be_is_told(run: Any, args: tuple[str, ...], code: int, word: str):
    result = run("keys", *args)
    assert result.exit_code == code
    assert word in result.stderr


def test_a_database_that_does_not_answer_is_told_without_its_password(run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADRACE_RECORDS__URL", "postgresql://ada:made-up@127.0.0.1:1/records")
    result = run("keys", "list")
    assert result.exit_code == 1
    assert "records.unusable" in result.stderr
    assert "made-up" not in result.stderr
