import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.s3_server import S3Server
from tests.unit.cli.conftest import MakeModel, Run

from headrace.models.store import LocalStore


@pytest.fixture
def _remote(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STORE__REMOTE", s3.address)


pytestmark = pytest.mark.usefixtures("_remote")


def test_a_push_and_a_pull_say_what_they_did(run: Run, make_model: MakeModel, s3: S3Server, tmp_path: Path) -> None:
    stored = make_model()
    spelled = f"minilm {stored.revision[:12]} ({stored.size_bytes} B)"
    result = run("models", "push", "minilm")
    assert result.stdout == f"pushed {spelled} to {s3.address}\nit is the champion of minilm in {s3.address} now\n"
    assert "Uploading minilm" in result.stderr
    assert run("models", "push", "minilm").stdout == f"{spelled} is there already, whole\n"
    other = ("--home", str(tmp_path / "other"))
    result = run("models", "pull", "minilm", *other)
    assert result.stdout == f"pulled {spelled} from {s3.address}\nnext: headrace serve minilm\n"
    assert "Downloading minilm" in result.stderr
    result = run("models", "pull", "minilm", *other)
    assert result.stdout == f"{spelled} is in the store already, whole\nnext: headrace serve minilm\n"


def test_a_push_and_a_pull_as_json(run: Run, make_model: MakeModel, s3: S3Server, tmp_path: Path) -> None:
    stored = make_model()
    common = {"name": "minilm", "revision": stored.revision, "size_bytes": stored.size_bytes, "remote": s3.address}
    pushed = run("models", "push", "minilm", "--json")
    assert json.loads(pushed.stdout) == {**common, "uploaded": True, "promoted": True}
    pulled = run("models", "pull", "minilm", "--json", "--home", str(tmp_path / "other"))
    path = str(tmp_path / "other/models/minilm" / stored.revision)
    assert json.loads(pulled.stdout) == {**common, "path": path, "current": True, "downloaded": True}
    assert (pushed.stderr, pulled.stderr) == ("", "")


def test_a_version_is_named_by_the_start_of_its_revision(run: Run, make_model: MakeModel, tmp_path: Path) -> None:
    old, new = make_model(content="old"), make_model(content="new")
    for stored in (new, old):
        run("models", "push", f"minilm@{stored.revision[:9]}")
    run("models", "pull", "minilm", "--home", str(tmp_path / "other"))
    result = run("models", "pull", f"minilm@{old.revision[:9]}", "--no-promote", "--home", str(tmp_path / "other"))
    assert "next: " not in result.stdout
    found = LocalStore(tmp_path / "other/models").versions("minilm")
    assert [stored.revision for stored in found] == [new.revision, old.revision]


def test_another_place_may_be_named(run: Run, make_model: MakeModel, s3: S3Server, home: Path) -> None:
    make_model()
    run("models", "push", "minilm", "--to", f"s3://{s3.bucket}/elsewhere")
    assert {key.split("/")[0] for key in s3.objects()} == {"elsewhere"}
    result = run("models", "pull", "minilm")
    assert (result.exit_code, result.stderr.count("model.unknown")) == (1, 1)
    assert run("models", "pull", "minilm", "--from", f"s3://{s3.bucket}/elsewhere").exit_code == 0


def test_the_remote_store_is_listed(run: Run, make_model: MakeModel) -> None:
    assert json.loads(run("models", "list", "--remote", "--json").stdout) == []
    assert run("models", "list", "--remote").stderr.startswith("no model in s3://")
    stored = make_model()
    run("models", "push", "minilm")
    run("models", "remove", "minilm", "--yes")
    header, row = run("models", "--remote").stdout.splitlines()
    assert header.split()[:3] == ["NAME", "REVISION", "ROLE"]
    assert row.split()[:4] == ["minilm", stored.revision[:12], "champion", "embed"]
    assert [each["role"] for each in json.loads(run("models", "--remote", "--json").stdout)] == ["champion"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["push", "minilm@"], 2, "name.invalid: 'minilm@' names no revision"),
        (["pull", "../x"], 2, "name.invalid: "),
        (["push", "minilm", "--to", "models"], 2, "setting.invalid: the address of the remote store is none"),
        (["push", "nobody"], 1, "model.unknown: no model 'nobody' in /"),
        (["pull", "nobody"], 1, "model.unknown: no model 'nobody' in s3://"),
        (["pull", "x", "--from", "s3://no-such-bucket"], 1, "store.unusable: cannot read s3://no-such-bucket/x/roles"),
    ],
)
def test_a_mistake_is_one_line(run: Run, make_model: MakeModel, arguments: list[str], code: int, told: str) -> None:
    make_model()
    result = run("models", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert f"headrace: {told}" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", [["push", "minilm"], ["pull", "minilm"], ["list", "--remote"]])
def test_without_an_address_the_option_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.delenv("HEADRACE_STORE__REMOTE")
    result = run("models", *command)
    assert result.exit_code == 2
    assert "setting.invalid: no remote store was named; set store.remote to s3://BUCKET" in result.stderr


def test_what_was_tampered_with_is_not_stored(run: Run, make_model: MakeModel, s3: S3Server, tmp_path: Path) -> None:
    make_model()
    run("models", "push", "minilm")
    key = next(key for key in s3.objects() if "/files/" in key)
    size_bytes = s3.client.head_object(Bucket=s3.bucket, Key=key)["ContentLength"]
    s3.overwrite(key, b"x" * size_bytes)
    result = run("models", "pull", "minilm", "--home", str(tmp_path / "other"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"headrace: model.corrupt: s3://{s3.bucket}/{key} (")
    assert list((tmp_path / "other/models").iterdir()) == []


@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_command_that_is_killed_leaves_nothing_half_made(
    run: Run, make_model: MakeModel, s3: S3Server, tmp_path: Path, command: str
) -> None:
    stored = make_model()
    if command == "pull":
        run("models", "push", "minilm")
    other = str(tmp_path / "other")
    arguments = ["models", command, "minilm", *(["--home", other] if command == "pull" else [])]
    seen: list[str] = []

    def kill(request: str) -> None:
        if request.startswith("PUT" if command == "push" else "GET") and "/files/" in request:
            seen.append(request)
            if len(seen) == 2:
                os.kill(process.pid, signal.SIGKILL)

    s3.tamper = kill
    process = subprocess.Popen([sys.executable, "-m", "headrace", *arguments], stderr=subprocess.PIPE)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    s3.tamper = lambda _request: None
    if command == "push":
        assert json.loads(run("models", "--remote", "--json").stdout) == []
    else:
        assert json.loads(run("models", "--json", "--home", other).stdout) == []
    assert run(*arguments).exit_code == 0
    assert run("models", "pull", "minilm", "--home", other).exit_code == 0
    assert LocalStore(tmp_path / "other/models").open("minilm").manifest == stored.manifest
