import json

import pytest
from tests.unit.cli.conftest import MakeModel, Run


def test_versions_that_are_as_they_were_stored_are_whole(run: Run, make_model: MakeModel) -> None:
    old, new = make_model(content="old"), make_model(content="new")
    make_model("other")
    result = run("models", "verify")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert sorted(rows) == sorted(
        [
            ["minilm", old.revision[:12], "whole"],
            ["minilm", new.revision[:12], "whole"],
            ["other", make_model("other").revision[:12], "whole"],
        ]
    )


def test_a_file_that_was_changed_is_named_and_the_others_are_checked_all_the_same(
    run: Run, make_model: MakeModel
) -> None:
    broken, whole = make_model("broken"), make_model("whole")
    (broken.path / "model.onnx").write_text("graph model.onnX")  # as many bytes
    result = run("models", "verify")
    assert result.exit_code == 1
    assert "model.onnx has another SHA-256" in result.stdout
    assert result.stdout.splitlines()[-1].split() == ["whole", whole.revision[:12], "whole"]
    assert "1 of 2 are broken" in result.stderr
    assert run("models", "verify", "whole").exit_code == 0
    assert run("models", "verify", "broken").exit_code == 1


def test_as_json_each_version_has_what_is_wrong_with_it(run: Run, make_model: MakeModel) -> None:
    missing, whole = make_model("missing"), make_model("whole")
    (missing.path / "tokenizer.json").unlink()
    result = run("models", "verify", "--json")
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert (first["name"], first["whole"], first["code"]) == ("missing", False, "model.corrupt")
    assert "tokenizer.json is missing" in first["message"]
    assert second == {"name": "whole", "revision": whole.revision, "whole": True}


def test_a_manifest_that_cannot_be_read_is_told_as_well(run: Run, make_model: MakeModel) -> None:
    stored = make_model()
    (stored.path / "manifest.json").write_text("{")
    result = run("models", "verify", "--json")
    assert result.exit_code == 1
    assert {"revision": stored.revision, "whole": False}.items() <= json.loads(result.stdout)[0].items()


def test_one_version_may_be_named(run: Run, make_model: MakeModel) -> None:
    old, _new = make_model(content="old"), make_model(content="new")
    found = json.loads(run("models", "verify", "minilm", "--revision", old.revision[:8], "--json").stdout)
    assert [each["revision"] for each in found] == [old.revision]
    assert run("models", "verify", "--revision", old.revision[:8]).exit_code == 2


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_empty_store_is_whole(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("models", "verify", *arguments)
    assert (result.exit_code, result.stdout) == (0, "[]\n" if arguments else "")
    assert run("models", "verify", "nobody").exit_code == 1
