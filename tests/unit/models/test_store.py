import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.crashes import crash_everywhere, make_reset
from tests.unit.models.conftest import Publish

from headrace.errors import ModelCorrupt, ModelUnknown, NameInvalid, StoreUnusable, VersionUnfit
from headrace.models.folder import open_folder
from headrace.models.roles import Candidate, Roles
from headrace.models.scan import scan_model
from headrace.models.store import LocalStore, StoredModel


def test_a_first_publish_that_is_cut_off_anywhere_leaves_the_whole_model_or_none(
    store: LocalStore, publish: Publish, tmp_path: Path
):
    def check() -> None:
        for stored in store.list_models():
            assert open_folder(stored.path).graph.read_bytes() == b"graph"

    assert crash_everywhere(publish, check, make_reset(store, tmp_path)) > 8


def test_a_second_version_that_is_cut_off_anywhere_leaves_the_old_or_the_new_one_current(
    store: LocalStore, publish: Publish, tmp_path: Path
):
    publish(b"old")
    found: set[bytes] = set()

    def check() -> None:
        assert sum(stored.is_current for stored in store.versions("tiny")) == 1
        found.add(store.open("tiny").graph.read_bytes())

    crash_everywhere(lambda: publish(b"new"), check, make_reset(store, tmp_path))
    assert found == {b"old", b"new"}


def test_the_same_content_published_again_is_never_away(store: LocalStore, publish: Publish, tmp_path: Path):
    publish(created_at="2026-01-01")

    def check() -> None:
        assert store.open("tiny").manifest.lineage.created_at == "2026-01-01"

    crash_everywhere(lambda: publish(created_at="2026-01-02"), check, make_reset(store, tmp_path))
    assert store.open("tiny").manifest.lineage.created_at == "2026-01-01"


def test_a_corrupt_version_is_mended_by_publishing_it_again(store: LocalStore, publish: Publish, tmp_path: Path):
    path = publish(created_at="2026-01-01").path
    (path / "model.onnx").write_bytes(b"grapes")

    def check() -> None:
        for stored in store.list_models():
            try:
                assert open_folder(stored.path).graph.read_bytes() == b"graph"
            except ModelCorrupt:
                assert stored.manifest.lineage.created_at == "2026-01-01"

    crash_everywhere(lambda: publish(created_at="2026-01-02"), check, make_reset(store, tmp_path))
    assert store.open("tiny").manifest.lineage.created_at == "2026-01-02"


def test_a_removal_that_is_cut_off_anywhere_leaves_only_whole_versions(
    store: LocalStore, publish: Publish, tmp_path: Path
):
    publish(b"old", created_at="2026-01-01")
    current = publish(b"new", created_at="2026-01-02").manifest.revision

    def check() -> None:
        for stored in store.versions("tiny"):
            open_folder(stored.path)
        assert store.open("tiny").graph.read_bytes() in {b"old", b"new"}

    crash_everywhere(lambda: store.remove("tiny", current), check, make_reset(store, tmp_path))
    assert [stored.is_current for stored in store.versions("tiny")] == [True]


def test_a_store_that_does_not_exist_is_empty(store: LocalStore):
    assert store.list_models() == []
    assert store.versions("tiny") == []
    with pytest.raises(ModelUnknown, match="tiny"):
        store.find("tiny")


def test_versions_lie_beside_each_other_the_current_first_and_then_the_newest(store: LocalStore, publish: Publish):
    first, third, second = (
        publish(graph, created_at=f"2026-01-0{day}") for graph, day in ((b"1", 1), (b"3", 3), (b"2", 2))
    )
    found = store.versions("tiny")
    assert [stored.path for stored in found] == [second.path, third.path, first.path]
    assert [stored.is_current for stored in found] == [True, False, False]
    assert store.find("tiny").path == second.path


def test_models_are_listed_by_name(store: LocalStore, publish: Publish):
    publish(name="b")
    publish(name="a")
    assert [stored.manifest.name for stored in store.list_models()] == ["a", "b"]


def test_the_start_of_a_revision_names_a_version(store: LocalStore, publish: Publish):
    first, second = publish(b"1"), publish(b"2")
    assert store.find("tiny", first.manifest.revision[:12]).path == first.path
    assert store.open("tiny", second.manifest.revision).graph.read_bytes() == b"2"
    with pytest.raises(ModelUnknown, match="2 versions"):
        store.find("tiny", "")
    with pytest.raises(ModelUnknown, match="0 versions"):
        store.find("tiny", "x")


def test_without_a_choice_the_newest_version_is_served(store: LocalStore, publish: Publish):
    publish(b"1", created_at="2026-01-02")
    publish(b"2", created_at="2026-01-01")
    (store.root / "tiny" / "roles.json").unlink()
    assert store.open("tiny").graph.read_bytes() == b"1"


@pytest.mark.parametrize("act", ["find", "open", "versions", "remove"])
@pytest.mark.parametrize("name", ["..", "../tiny", "/etc", "Tiny", ""])
def test_a_name_that_is_none_never_becomes_a_path(store: LocalStore, act: str, name: str):
    with pytest.raises(NameInvalid):
        getattr(store, act)(name)


def test_removing_the_current_version_makes_the_newest_of_the_rest_current(store: LocalStore, publish: Publish):
    versions = [publish(str(day).encode(), created_at=f"2026-01-0{day}") for day in (3, 1, 2)]
    removed = store.remove("tiny", versions[2].manifest.revision)
    assert [stored.path for stored in removed.entries] == [versions[2].path]
    assert store.open("tiny").graph.read_bytes() == b"3"
    assert len(store.versions("tiny")) == 2


def test_removing_another_version_leaves_the_current_one(store: LocalStore, publish: Publish):
    old = publish(b"old")
    publish(b"new")
    store.remove("tiny", old.manifest.revision[:8])
    assert store.open("tiny").graph.read_bytes() == b"new"


@pytest.mark.parametrize("by_revision", [True, False])
def test_removing_the_last_version_removes_the_model(store: LocalStore, publish: Publish, by_revision: bool):
    stored = publish()
    assert store.remove("tiny", stored.revision if by_revision else None).entries == (stored,)
    assert store.list_models() == []
    assert list(store.root.iterdir()) == []


def test_removing_a_model_removes_all_its_versions(store: LocalStore, publish: Publish):
    publish(b"1")
    publish(b"2")
    publish(name="other")
    assert len(store.remove("tiny").versions) == 2
    assert [stored.manifest.name for stored in store.list_models()] == ["other"]


def test_a_model_whose_manifest_is_broken_says_so_and_can_be_removed(store: LocalStore, publish: Publish):
    (publish().path / "manifest.json").unlink()
    with pytest.raises(ModelCorrupt, match="missing"):
        store.find("tiny")
    with pytest.raises(ModelCorrupt, match="missing"):
        store.versions("tiny")
    assert len(store.remove("tiny").defects) == 1
    assert list(store.root.iterdir()) == []


def test_a_broken_version_can_be_named_and_removed(store: LocalStore, publish: Publish):
    broken, whole = publish(b"1"), publish(b"2")
    (broken.path / "manifest.json").write_bytes(b"{")
    with pytest.raises(ModelCorrupt, match=r"manifest\.json: "):
        store.find("tiny", broken.revision)
    assert store.find("tiny").revision == whole.revision
    assert [defect.path for defect in store.remove("tiny", broken.revision[:12]).defects] == [broken.path]
    assert [path.name for path in sorted((store.root / "tiny").iterdir())] == sorted([whole.revision, "roles.json"])


def test_removing_a_broken_current_version_makes_a_whole_one_current(store: LocalStore, publish: Publish):
    whole, broken = publish(b"1"), publish(b"2")
    (broken.path / "manifest.json").write_bytes(b"{")
    store.remove("tiny", broken.revision)
    assert store.find("tiny").revision == whole.revision


def test_removing_the_last_whole_version_leaves_the_broken_ones(store: LocalStore, publish: Publish):
    broken, whole = publish(b"1"), publish(b"2")
    (broken.path / "manifest.json").write_bytes(b"{")
    store.remove("tiny", whole.revision)
    assert broken.path.exists()
    assert not whole.path.exists()


def test_a_folder_that_holds_no_model_cannot_be_removed(store: LocalStore):
    (store.root / "foreign/sub").mkdir(parents=True)
    with pytest.raises(ModelUnknown, match="foreign"):
        store.remove("foreign")
    assert (store.root / "foreign/sub").is_dir()


def test_a_store_that_cannot_be_written_refuses_a_removal(
    store: LocalStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
):
    publish()

    def refuse(path: Path, *_args: object, **_named: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreUnusable, match=r"cannot write to .*: Read-only file system"):
        store.remove("tiny")


@pytest.mark.parametrize("place", ["body", "publish"])
def test_a_disk_that_becomes_full_during_an_import_is_named_and_the_draft_is_gone(
    store: LocalStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, place: str
):
    def refuse(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes" if place == "body" else "write_text", refuse)
    with pytest.raises(StoreUnusable, match=f"cannot write to {store.root}: No space left on device"):
        publish()
    assert list(store.root.iterdir()) == []


def test_a_version_that_cannot_be_read_is_replaced(
    store: LocalStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
):
    stored = publish(created_at="2026-01-01")
    listed = os.scandir
    refusals = iter([PermissionError(13, "Permission denied")])

    def refuse_once(path: Any = ".") -> Any:
        if path == stored.path and (error := next(refusals, None)):
            raise error
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse_once)
    assert publish(created_at="2026-01-02").manifest.lineage.created_at == "2026-01-02"


def test_an_unknown_model_cannot_be_removed(store: LocalStore, publish: Publish):
    publish()
    with pytest.raises(ModelUnknown, match="other"):
        store.remove("other")
    with pytest.raises(ModelUnknown, match="0 versions"):
        store.remove("tiny", "x")


def test_a_draft_that_is_not_published_is_gone(store: LocalStore):
    with store.draft() as draft:
        (draft / "model.onnx").write_bytes(b"")
    assert not draft.exists()
    assert store.list_models() == []


def test_the_next_draft_removes_those_that_a_crash_left(store: LocalStore):
    store.root.mkdir(parents=True)
    left = store.root / ".draft-left"
    left.mkdir()
    os.utime(left, (time.time() - 300, time.time() - 300))
    with store.draft():
        assert not left.exists()


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnusable, match="--home"), LocalStore(tmp_path / "file" / "models").draft():
        pass


def test_what_is_published_may_be_read_by_other_users(publish: Publish):
    stored: StoredModel = publish()
    mask = os.umask(0)
    os.umask(mask)
    for path in (stored.path, stored.path.parent / "roles.json", *stored.path.iterdir()):
        assert path.stat().st_mode & 0o044 == 0o044 & ~mask


def test_the_size_of_a_model_is_that_of_its_files(publish: Publish):
    assert publish(b"12345").size_bytes == 5 + 2 * len("{}") + len("made 2026-01-01")


def canary(stored: StoredModel, share: float = 0.1) -> Candidate:
    return Candidate(revision=stored.revision, kind="canary", share=share)


def test_another_version_is_promoted_and_rolled_back(store: LocalStore, publish: Publish):
    old, new = publish(b"old"), publish(b"new")
    assert store.roles("tiny") == Roles(champion=new.revision, previous=old.revision)
    assert store.promote("tiny", old.revision[:9]) == Roles(champion=old.revision, previous=new.revision)
    assert store.open("tiny").graph.read_bytes() == b"old"
    assert store.roll_back("tiny").champion == new.revision
    assert store.roll_back("tiny").champion == old.revision
    assert store.promote("tiny", old.revision).previous == new.revision  # it is that already


def test_without_another_champion_before_nothing_is_rolled_back(store: LocalStore, publish: Publish):
    publish()
    with pytest.raises(ModelUnknown, match="had no other champion"):
        store.roll_back("tiny")


def test_what_is_published_may_stay_beside_the_champion(store: LocalStore, publish: Publish):
    first = publish(b"1", promote=False)  # somebody must answer
    second = publish(b"2", created_at="2026-02-01", promote=False)
    assert (first.is_current, second.is_current) == (True, False)
    assert store.open("tiny").graph.read_bytes() == b"1"
    (store.root / "tiny/roles.json").unlink()  # as in a store where nothing was ever chosen
    publish(b"3", created_at="2026-03-01", promote=False)
    assert store.open("tiny").graph.read_bytes() == b"2"


def test_a_broken_version_is_not_promoted_and_not_tried_out(store: LocalStore, publish: Publish):
    broken, whole = publish(b"broken"), publish(b"whole")
    (broken.path / "model.onnx").write_bytes(b"brokem")
    for act in (
        lambda: store.promote("tiny", broken.revision),
        lambda: store.roll_back("tiny"),
        lambda: store.try_out("tiny", canary(broken)),
    ):
        with pytest.raises(ModelCorrupt, match="SHA-256"):
            act()
    assert store.roles("tiny") == Roles(champion=whole.revision, previous=broken.revision)


def test_a_version_is_tried_out_until_it_is_promoted_or_retired(store: LocalStore, publish: Publish):
    champion, other = publish(b"1"), publish(b"2", promote=False)
    assert store.try_out("tiny", canary(other)).candidate == canary(other)
    assert scan_model(store.root / "tiny").describe_role(other) == "canary 10 %"
    assert store.try_out("tiny", None).candidate is None
    store.try_out("tiny", canary(other, 0.5))
    assert store.promote("tiny", other.revision) == Roles(champion=other.revision, previous=champion.revision)
    with pytest.raises(VersionUnfit, match="is the champion"):
        store.try_out("tiny", canary(other))
    with pytest.raises(ModelUnknown):
        store.try_out("tiny", Candidate(revision="0" * 64, kind="shadow", share=1))


def test_roles_of_versions_that_are_removed_end(store: LocalStore, publish: Publish):
    first, second, third = publish(b"1"), publish(b"2"), publish(b"3", promote=False)
    store.try_out("tiny", canary(third))
    store.remove("tiny", third.revision)
    assert store.roles("tiny") == Roles(champion=second.revision, previous=first.revision)
    store.remove("tiny", second.revision)
    assert store.roles("tiny") == Roles(champion=first.revision)


@pytest.mark.parametrize("act", ["promote", "roll_back", "try_out"])
def test_a_change_of_roles_that_is_cut_off_anywhere_leaves_the_old_ones_or_the_new(
    store: LocalStore, publish: Publish, tmp_path: Path, act: str
):
    publish(b"0")
    old, other = publish(b"old"), publish(b"other", promote=False)
    acts = {
        "promote": lambda: store.promote("tiny", other.revision),
        "roll_back": lambda: store.roll_back("tiny"),
        "try_out": lambda: store.try_out("tiny", canary(other)),
    }
    found: set[str] = set()

    def check() -> None:
        found.add(store.roles("tiny").model_dump_json())
        assert len(store.versions("tiny")) == 3

    before = store.roles("tiny").model_dump_json()
    assert old.revision in before
    assert crash_everywhere(acts[act], check, make_reset(store, tmp_path)) > 2
    assert len(found) == 2
    assert before in found


def test_publishing_beside_the_champion_that_is_cut_off_anywhere_changes_no_champion(
    store: LocalStore, publish: Publish, tmp_path: Path
):
    publish(b"old")
    (store.root / "tiny/roles.json").unlink()

    def check() -> None:
        assert store.open("tiny").graph.read_bytes() == b"old"

    crash_everywhere(
        lambda: publish(b"new", created_at="2027-01-01", promote=False), check, make_reset(store, tmp_path)
    )


def test_changes_at_the_same_time_lose_nothing(store: LocalStore, publish: Publish):
    versions = [publish(str(number).encode()) for number in range(6)]

    def work(number: int) -> None:
        for turn in range(10):
            store.promote("tiny", versions[(number + turn) % 6].revision)
            publish(f"{number}-{turn}".encode(), promote=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    roles = store.roles("tiny")
    assert roles.champion in {version.revision for version in versions}
    assert len(store.versions("tiny")) == 6 + 40


def test_a_model_that_is_removed_while_another_is_published_is_there_whole_or_not_at_all(
    store: LocalStore, publish: Publish
):
    publish()

    def remove() -> None:
        for _ in range(20):
            with contextlib.suppress(ModelUnknown):
                store.remove("tiny")

    with ThreadPoolExecutor(2) as pool:
        gone = pool.submit(remove)
        for number in range(20):
            publish(str(number).encode())
        gone.result()
    for stored in store.list_models():
        open_folder(stored.path)
