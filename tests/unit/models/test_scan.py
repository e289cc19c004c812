import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.models.conftest import Publish

from headrace.errors import ModelCorrupt, StoreUnusable
from headrace.models.scan import Scan, holds_model, model_names, scan_model
from headrace.models.store import LocalStore


def scan(store: LocalStore, name: str = "tiny") -> Scan:
    return scan_model(store.root / name)


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Refuse to list a folder: tests may run as a user whom no permission stops."""
    list_folder = os.scandir

    def listed(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", listed)


def test_folders_that_hold_no_model_are_passed_over(store: LocalStore, publish: Publish):
    publish()
    for name in ("lost+found", "empty", ".hidden", "Upper", "foreign/sub"):
        (store.root / name).mkdir(parents=True)
    (store.root / "file").write_bytes(b"")
    assert model_names(store.root) == ["tiny"]


def test_a_store_that_is_not_there_has_no_models(store: LocalStore):
    assert model_names(store.root) == []


def test_a_store_that_is_a_file_or_cannot_be_read_says_so(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StoreUnusable, match="Not a directory"):
        model_names(Path(__file__))
    store.root.mkdir(parents=True)
    refuse_to_list(monkeypatch, store.root)
    with pytest.raises(StoreUnusable, match=f"cannot read {store.root}: Permission denied"):
        model_names(store.root)


def test_a_model_folder_that_cannot_be_read_is_a_defect_and_hinders_no_other(
    store: LocalStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
):
    publish(name="a")
    publish(name="b")
    (store.root / "a/roles.json").unlink()
    refuse_to_list(monkeypatch, store.root / "a")
    assert model_names(store.root) == ["a", "b"]
    assert isinstance(scan(store, "a").obstacle, StoreUnusable)
    assert scan(store, "b").obstacle is None


def test_a_file_is_no_model(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    assert not holds_model(tmp_path / "file")


def test_a_broken_version_beside_the_current_one_hinders_nothing(store: LocalStore, publish: Publish):
    current = publish()
    (store.root / "tiny/junk").mkdir()
    found = scan(store)
    assert [stored.revision for stored in found.versions] == [current.revision]
    assert [(defect.revision, defect.is_current) for defect in found.defects] == [("junk", False)]
    assert found.obstacle is None


def test_no_older_version_stands_in_for_a_broken_current_one(store: LocalStore, publish: Publish):
    publish(b"old")
    (publish(b"new").path / "manifest.json").write_text("{", encoding="utf-8")
    found = scan(store)
    assert len(found.versions) == 1
    assert isinstance(found.obstacle, ModelCorrupt)


def test_a_manifest_that_cannot_be_read_is_not_called_missing(
    store: LocalStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
):
    path = publish().path / "manifest.json"

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(_path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (store.root / "tiny/roles.json").unlink()
    (defect,) = scan(store).defects
    assert isinstance(defect.error, StoreUnusable)
    assert str(path) in defect.error.message
    assert "missing" not in defect.error.message


def test_a_broken_manifest_is_named_with_its_path(store: LocalStore, publish: Publish):
    path = publish().path / "manifest.json"
    path.write_text("{}", encoding="utf-8")
    (defect,) = scan(store).defects
    assert defect.error.message.startswith(f"{path}: name: ")


def test_a_manifest_that_would_never_end_is_not_read(store: LocalStore, publish: Publish):
    path = publish().path / "manifest.json"
    path.unlink()
    os.mkfifo(path)
    assert "no plain file" in str(scan(store).obstacle)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "no plain file" in str(scan(store).obstacle)


def test_a_renamed_model_says_what_it_was(store: LocalStore, publish: Publish):
    publish()
    (store.root / "tiny").rename(store.root / "other")
    assert "/other' holds the model 'tiny'; rename it back" in str(scan(store, "other").obstacle)


def test_a_renamed_version_says_what_it_was(store: LocalStore, publish: Publish):
    stored = publish()
    stored.path.rename(stored.path.with_name("0" * 64))
    (store.root / "tiny/roles.json").unlink()
    assert f"holds the revision '{stored.revision}'" in str(scan(store).obstacle)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"garbage", "roles.json: the file: Invalid JSON"),
        (b"", "delete it to serve the newest version"),
        (b"\xff\n", "Invalid JSON"),
        (b"x" * 5000, "roles.json is larger than"),
        (b'{"champion": "../../etc"}', "roles.json: champion: "),
        (b'{"champion": "%s"}' % (b"0" * 64), "there is no such version"),
        (b'{"champion": "%s", "candidate": {"share": 2}}' % (b"0" * 64), "roles.json: candidate."),
    ],
)
def test_a_wrong_choice_of_the_champion_is_named(store: LocalStore, publish: Publish, content: bytes, told: str):
    stored = publish()
    (store.root / "tiny/roles.json").write_bytes(content)
    found = scan(store)
    assert told in str(found.obstacle)
    assert [(each.revision, each.is_current) for each in found.versions] == [(stored.revision, False)]


def test_a_choice_that_is_no_file_is_named(store: LocalStore, publish: Publish):
    publish()
    (store.root / "tiny/roles.json").unlink()
    os.mkfifo(store.root / "tiny/roles.json")
    assert "no plain file" in str(scan(store).obstacle)
