from pathlib import Path

import pytest
from tests.unit.models.sources.conftest import Heard

from headrace.errors import SourceInvalid, SourceMissing
from headrace.models.sources.resolve import fetch, parse_spec


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("org/name", "hub", "org/name"),
        ("bert-base-uncased", "hub", "bert-base-uncased"),
        ("sentence-transformers/all-MiniLM-L6-v2", "hub", "sentence-transformers/all-MiniLM-L6-v2"),
        ("pypi:a-b.c==1.0.post1+x", "pypi", "a-b.c==1.0.post1+x"),
        ("/somewhere/else", "folder", "/somewhere/else"),
    ],
)
def test_each_form_is_told_from_the_others(text: str, kind: str, name: str):
    spec = parse_spec(text)
    assert (spec.kind, spec.name) == (kind, name)


@pytest.mark.parametrize("text", ["./model", "model", "../there/model"])
def test_a_folder_is_known_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    (tmp_path / "there/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "there")
    assert parse_spec(text).name == str(tmp_path / "there/model")


def test_a_folder_in_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_spec("~/model").name == str(tmp_path / "model")


@pytest.mark.parametrize(
    "text", ["", " ", "a/b/c", "a b", "org/../x", "https://example.org/x", "s3://x", "a--b", "-x", "a\n", "org/"]
)
def test_what_is_no_source_is_refused_with_the_three_forms(text: str):
    with pytest.raises(SourceInvalid, match=r"\./my-model.*org/name.*pypi:NAME==VERSION"):
        parse_spec(text)


@pytest.mark.parametrize(
    "text", ["pypi:", "pypi:a", "pypi:a>=1", "pypi:-r x==1", "pypi:a==1 --x", "pypi:a==", "pypi:a @ file:///x"]
)
def test_a_wheel_needs_a_name_and_a_version_and_nothing_else(text: str):
    with pytest.raises(SourceInvalid, match="pypi:NAME==VERSION"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("text", "revision", "sha256", "field"),
    [
        ("org/name", None, "0" * 64, "sha256"),
        ("/folder", None, "0" * 64, "sha256"),
        ("/folder", "main", None, "revision"),
        ("pypi:a==1", "main", None, "revision"),
        ("pypi:a==1", None, "xyz", "sha256"),
        ("org/name", "../x", None, "revision"),
        ("org/name", "a b", None, "revision"),
        ("org/name", "", None, "revision"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(text: str, revision: str | None, sha256: str | None, field: str):
    with pytest.raises(SourceInvalid) as caught:
        parse_spec(text, revision=revision, sha256=sha256)
    assert caught.value.field == field


def test_the_label_names_the_revision_that_was_asked_for():
    assert parse_spec("org/name").label == "org/name"
    assert parse_spec("org/name", revision="v1").label == "org/name@v1"
    assert parse_spec("pypi:a==1", sha256="A" * 64).label == "pypi:a==1"
    assert parse_spec("pypi:a==1", sha256="A" * 64).sha256 == "a" * 64


def test_a_folder_is_used_where_it_is(tmp_path: Path, heard: Heard):
    with fetch(parse_spec(str(tmp_path)), heard) as source:
        assert (source.folder, source.revision) == (tmp_path, None)
    assert tmp_path.is_dir()


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path, heard: Heard):
    with pytest.raises(SourceMissing, match="no folder"), fetch(parse_spec(f"{tmp_path}/none"), heard):
        pass
