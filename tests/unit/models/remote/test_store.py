from pathlib import Path
from typing import Any

import pytest
from tests.support.manifests import manifest_fields
from tests.support.s3_server import S3Server
from tests.unit.models.conftest import Publish

from headrace.errors import ModelCorrupt, ModelUnknown, NameInvalid, StoreUnreachable
from headrace.models.folder import open_folder
from headrace.models.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, make_manifest
from headrace.models.remote.store import RemoteStore
from headrace.models.store import StoredModel

A, B = "a" * 64, "b" * 64


def put(s3: S3Server, key: str, data: bytes) -> None:
    s3.overwrite(f"models/{key}", data)


def put_manifest(s3: S3Server, manifest: Manifest) -> None:
    put(s3, f"{manifest.name}/{manifest.revision}/manifest.json", manifest.model_dump_json().encode())


def listed(remote: RemoteStore) -> list[tuple[str, str, bool]]:
    return [(each.manifest.name, each.manifest.revision, each.is_current) for each in remote.versions()]


def add(remote: RemoteStore, stored: StoredModel) -> str:
    folder = open_folder(stored.path)
    for file in folder.manifest.files:
        remote.add_file(folder, file, int)
    remote.add_manifest(folder.manifest)
    return stored.revision


def manifest_with(**files: Any) -> Manifest:
    """Return a manifest that lists other files than a model has, and has the revision of that."""
    entry = FileEntry(sha256=A, size_bytes=1)
    return make_manifest(**manifest_fields(files=dict.fromkeys(files, entry)))


USUAL = {"model.onnx": 1, "tokenizer.json": 1, "reference.json": 1}


def test_versions_are_listed_with_the_champion(remote: RemoteStore, publish: Publish):
    assert listed(remote) == []
    first, second = sorted([add(remote, publish(b"1")), add(remote, publish(b"2"))])
    another = add(remote, publish(name="another"))
    remote.promote("tiny", second, over=True)
    assert listed(remote) == [("another", another, False), ("tiny", first, False), ("tiny", second, True)]


def test_what_is_no_version_is_not_listed(s3: S3Server, remote: RemoteStore, publish: Publish):
    put(s3, "../x/manifest.json", b"{}")
    put(s3, "UPPER/x", b"")
    put(s3, "tiny/latest/manifest.json", b"{}")
    put(s3, f"tiny/{A}/files/{B}", b"half a push")
    put(s3, f"tiny/{B}/manifest.json", b"{")
    put(s3, "tiny/roles.json", b"[]")
    revision = add(remote, publish())
    assert listed(remote) == [("tiny", revision, False)]


def test_the_champion_is_found_and_the_start_of_a_revision(remote: RemoteStore, publish: Publish):
    first, second = add(remote, publish(b"1")), add(remote, publish(b"2"))
    remote.promote("tiny", first, over=True)
    assert remote.find("tiny").revision == first
    assert remote.find("tiny", second).revision == second
    assert remote.find("tiny", second[:9]).revision == second
    for none in ("", "x", A):
        with pytest.raises(ModelUnknown, match=r"versions of 'tiny' in s3://.* start with"):
            remote.find("tiny", none)
    with pytest.raises(ModelUnknown, match="no model 'other' in s3://"):
        remote.find("other")
    with pytest.raises(NameInvalid):
        remote.find("../tiny")


def test_the_first_version_is_the_champion_and_another_only_over_it(remote: RemoteStore):
    assert remote.promote("tiny", A, over=False)
    assert not remote.promote("tiny", B, over=False)
    assert not remote.promote("tiny", A, over=True)
    assert remote.promote("tiny", B, over=True)
    roles = remote.roles("tiny")
    assert roles is not None
    assert (roles.champion, roles.previous) == (B, A)


def test_a_champion_that_another_process_makes_first_is_not_lost(s3: S3Server, remote: RemoteStore):
    def race(request: str) -> None:
        if request.startswith("PUT"):
            s3.tamper = lambda _request: None
            assert remote.promote("tiny", A, over=True)

    s3.tamper = race
    assert remote.promote("tiny", B, over=True)
    roles = remote.roles("tiny")
    assert roles is not None
    assert (roles.champion, roles.previous) == (B, A)


def test_others_that_do_not_stop_are_given_up(remote: RemoteStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote.bucket, "replace", lambda *_args: False)
    with pytest.raises(StoreUnreachable, match="was changed by others 10 times"):
        remote.promote("tiny", A, over=True)


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"[]", "Input should be an object"), (b"x" * 5000, "larger than"), (b'{"champion": "../x"}', "champion")],
)
def test_broken_roles_are_told_and_mended_by_a_push(s3: S3Server, remote: RemoteStore, data: bytes, told: str):
    put(s3, "tiny/roles.json", data)
    with pytest.raises(ModelCorrupt, match=rf"s3://.*/tiny/roles\.json.*{told}"):
        remote.find("tiny")
    assert remote.promote("tiny", A, over=False)
    with pytest.raises(ModelCorrupt, match="as champion, and there is no such version; push it"):
        remote.find("tiny")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "Invalid JSON"),
        (b"<html>", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"format": 2}', "format"),
        (b"[" * (MAX_MANIFEST_BYTES + 1), "larger than 1048576 bytes"),
        (b"[" * 1000000, "recursion"),
    ],
)
def test_a_manifest_that_is_none_is_named(s3: S3Server, remote: RemoteStore, data: bytes, told: str):
    put(s3, f"tiny/{A}/manifest.json", data)
    with pytest.raises(
        ModelCorrupt, match=rf"s3://{s3.bucket}/models/tiny/{A}/manifest\.json.*{told}.*push the version"
    ):
        remote.find("tiny", A)


def test_a_manifest_of_another_place_is_refused(s3: S3Server, remote: RemoteStore):
    manifest = manifest_with(**USUAL)
    for name, revision in (("other", manifest.revision), ("tiny", A)):
        put(s3, f"{name}/{revision}/manifest.json", manifest.model_dump_json().encode())
        with pytest.raises(ModelCorrupt, match="is that of 'tiny'"):
            remote.find(name, revision)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "..", ".", "", "a/b", "x\0", "C:/../../x"])
def test_a_file_that_leads_outside_is_refused_before_anything_is_downloaded(
    s3: S3Server, remote: RemoteStore, name: str
):
    manifest = manifest_with(**USUAL, **{name: 1})
    put_manifest(s3, manifest)
    with pytest.raises(ModelCorrupt, match="leads outside the folder; remove it there and push"):
        remote.find("tiny", manifest.revision)


def test_a_manifest_without_a_graph_is_refused(s3: S3Server, remote: RemoteStore):
    manifest = manifest_with(**{"tokenizer.json": 1, "reference.json": 1})
    put_manifest(s3, manifest)
    with pytest.raises(ModelCorrupt, match=r"lists no model\.onnx"):
        remote.find("tiny", manifest.revision)


def test_files_that_are_not_there_as_they_should_be_are_missing(s3: S3Server, remote: RemoteStore, publish: Publish):
    manifest = publish().manifest
    assert set(remote.missing_files(manifest)) == set(manifest.files)
    revision = add(remote, publish())
    assert remote.missing_files(manifest) == {}
    graph = f"tiny/{revision}/files/{manifest.files['model.onnx'].sha256}"
    for data in (b"grap", b"grapH"):
        put(s3, graph, data)
        assert set(remote.missing_files(manifest)) == {"model.onnx"}


def test_a_file_is_fetched_under_its_name(remote: RemoteStore, publish: Publish, tmp_path: Path):
    stored = publish()
    add(remote, stored)
    remote.fetch_file(stored.manifest, "model.onnx", tmp_path, int)
    assert (tmp_path / "model.onnx").read_bytes() == b"graph"
