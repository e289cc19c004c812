import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import MakeModel, Run

from headrace.models.store import StoredModel


def test_models_alone_lists_the_store(run: Run, make_model: MakeModel) -> None:
    stored = make_model("minilm")
    result = run("models")
    header, row = result.stdout.splitlines()
    assert header.split()[:3] == ["NAME", "REVISION", "ROLE"]
    assert row.split()[:4] == ["minilm", stored.manifest.revision[:12], "champion", "embed"]
    assert result.exit_code == 0


def test_models_alone_takes_the_flags_of_list(run: Run, make_model: MakeModel) -> None:
    make_model("minilm")
    assert json.loads(run("models", "--json").stdout) == json.loads(run("models", "list", "--json").stdout)


def test_a_listing_says_which_version_is_current(run: Run, make_model: MakeModel) -> None:
    make_model(content="old")
    make_model(content="new")
    found = json.loads(run("models", "--json").stdout)
    assert [each["current"] for each in found] == [True, False]


def test_an_empty_store_is_no_error_and_names_the_import_command(run: Run) -> None:
    result = run("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "headrace import" in result.stderr


def test_an_empty_store_is_an_empty_json_list(run: Run) -> None:
    assert json.loads(run("models", "--json").stdout) == []


def test_an_unknown_sub_command_is_wrong_usage(run: Run) -> None:
    result = run("models", "lst")
    assert result.exit_code == 2
    assert "'list'" in result.stderr


def test_show_has_the_facts_and_the_gate(run: Run, make_model: MakeModel) -> None:
    stored = make_model()
    out = run("models", "show", "minilm").stdout
    for fact in (stored.manifest.revision, "pypi:made-up==1.0", "mean, normalized", "0.9999999", "passed on 55 texts"):
        assert fact in out


def test_show_takes_the_beginning_of_a_revision(run: Run, make_model: MakeModel) -> None:
    old = make_model(content="old", normalize=False)
    make_model(content="new")
    shown = json.loads(run("models", "show", "minilm", "--revision", old.manifest.revision[:12], "--json").stdout)
    assert (shown["revision"], shown["current"]) == (old.manifest.revision, False)
    out = run("models", "show", "minilm", "--revision", old.manifest.revision[:12]).stdout
    assert "(current)" not in out
    assert "normalized" not in out


def test_show_of_an_unknown_model_is_one_line_and_exit_code_1(run: Run) -> None:
    result = run("models", "show", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("headrace: model.unknown: ")
    assert result.stderr.count("\n") == 1


def test_remove_without_a_terminal_needs_yes(run: Run, make_model: MakeModel) -> None:
    make_model()
    result = run("models", "remove", "minilm")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert json.loads(run("models", "--json").stdout)


def test_remove_with_yes_removes_every_version(run: Run, make_model: MakeModel) -> None:
    make_model(content="old")
    make_model(content="new")
    result = run("models", "remove", "minilm", "--yes")
    assert result.stdout.count("removed minilm ") == 2
    assert json.loads(run("models", "--json").stdout) == []


def test_remove_of_one_version_leaves_the_other(run: Run, make_model: MakeModel) -> None:
    old = make_model(content="old")
    new = make_model(content="new")
    removed = json.loads(
        run("models", "remove", "minilm", "--revision", old.manifest.revision[:12], "--yes", "--json").stdout
    )
    assert [each["revision"] for each in removed] == [old.manifest.revision]
    assert [each["revision"] for each in json.loads(run("models", "--json").stdout)] == [new.manifest.revision]


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1)])
def test_remove_asks_at_a_terminal(
    run: Run, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    make_model()
    monkeypatch.setattr("headrace.cli.models.sys", _Terminal)
    result = run("models", "remove", "minilm", stdin=answer)
    assert "will remove minilm" in result.stderr
    assert result.exit_code == left
    assert len(json.loads(run("models", "--json").stdout)) == left


class _Terminal:
    """The ``sys`` of a process whose standard input is a terminal."""

    class stdin:  # noqa: N801 - as in sys
        @staticmethod
        def isatty() -> bool:
            return True


def break_manifest(stored: StoredModel) -> None:
    (stored.path / "manifest.json").write_text("{", encoding="utf-8")


def test_what_is_broken_is_named_beside_what_is_not(run: Run, make_model: MakeModel, home: Path) -> None:
    make_model()
    (home / "models/minilm/junk").mkdir()
    (home / "models/lost+found").mkdir()
    result = run("models")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stderr.startswith("headrace: warning: model.corrupt: ")
    assert "minilm/junk/manifest.json is missing" in result.stderr
    assert result.stderr.count("\n") == 1
    result = run("models", "--json")
    assert len(json.loads(result.stdout)) == 1
    assert json.loads(result.stderr)["code"] == "model.corrupt"


def test_a_store_of_nothing_but_broken_models_is_not_called_empty(run: Run, make_model: MakeModel) -> None:
    break_manifest(make_model())
    result = run("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "manifest.json: " in result.stderr
    assert "headrace import" not in result.stderr


def test_a_home_that_is_a_file_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = run("models", "--home", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert "store.unusable: cannot read " in result.stderr
    assert "Not a directory" in result.stderr


def test_a_home_of_a_user_who_is_not_there_is_wrong_usage(run: Run) -> None:
    result = run("models", "--home", "~nosuchuser/x")
    assert result.exit_code == 2
    assert result.stderr.startswith("headrace: setting.invalid: store.home cannot be '~nosuchuser/x' (flag): there is")


def test_a_broken_model_can_be_removed(run: Run, make_model: MakeModel) -> None:
    stored = make_model()
    break_manifest(stored)
    result = run("models", "remove", "minilm", "--yes")
    assert (result.exit_code, result.stdout) == (0, f"removed minilm {stored.path.name[:12]} (broken)\n")
    assert run("models", "--json").stdout == "[]\n"


def test_a_broken_version_can_be_removed_and_the_whole_one_stays(run: Run, make_model: MakeModel, home: Path) -> None:
    stored = make_model()
    (home / "models/minilm/junk").mkdir()
    removed = json.loads(run("models", "remove", "minilm", "--revision", "junk", "--yes", "--json").stdout)
    assert [(each["revision"], each["current"], each["code"]) for each in removed] == [("junk", False, "model.corrupt")]
    assert [each["revision"] for each in json.loads(run("models", "--json").stdout)] == [stored.revision]


def test_home_wins_over_the_environment(
    run: Run, make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_model()
    other = tmp_path_factory.mktemp("other")
    assert json.loads(run("models", "--home", str(other), "--json").stdout) == []
