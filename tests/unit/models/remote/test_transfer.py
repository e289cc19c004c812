import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.crashes import Crash, crash_everywhere, make_reset
from tests.support.s3_server import Reply, S3Server
from tests.unit.models.conftest import Publish
from tests.unit.models.remote.conftest import ONCE
from tests.unit.models.sources.conftest import Heard

from headrace.errors import ModelCorrupt, ModelError, ModelUnknown, StoreUnusable
from headrace.models.folder import open_folder
from headrace.models.remote.address import parse_address
from headrace.models.remote.s3 import Bucket
from headrace.models.remote.store import RemoteStore
from headrace.models.remote.transfer import Pulled, Pushed, pull, push
from headrace.models.store import LocalStore

Act = Callable[..., Any]


class CutOff:
    """A client whose process is killed before the n-th request: no later one is sent either."""

    def __init__(self, client: Any, number: int) -> None:
        self._client = client
        self._left = number

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name == "exceptions":
            return real

        def request(**named: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise Crash
            return real(**named)

        return request


@pytest.fixture
def heard() -> Heard:
    return Heard()


def content(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


@pytest.fixture
def send(store: LocalStore, remote: RemoteStore, heard: Heard) -> Callable[..., Pushed]:
    def act(revision: str | None = None) -> Pushed:
        return push(store, remote, heard, "tiny", revision)

    return act


@pytest.fixture
def get(other: LocalStore, remote: RemoteStore, heard: Heard) -> Callable[..., Pulled]:
    def act(revision: str | None = None, *, promote: bool = True) -> Pulled:
        return pull(other, remote, heard, "tiny", revision, promote=promote)

    return act


def test_what_was_pushed_is_pulled_byte_by_byte(
    store: LocalStore, other: LocalStore, publish: Publish, send: Act, get: Act
):
    stored = publish()
    assert send() == Pushed(stored.manifest, is_new=True, is_promoted=True)
    pulled = get()
    assert pulled.is_new
    assert pulled.stored.is_current
    assert content(pulled.stored.path) == content(stored.path)
    assert other.open("tiny").manifest == stored.manifest


def test_what_is_there_whole_is_not_sent_again(s3: S3Server, publish: Publish, send: Act, get: Act):
    stored = publish()
    send()
    get()
    s3.requests.clear()
    assert send() == Pushed(stored.manifest, is_new=False, is_promoted=False)
    assert not get().is_new
    assert {request.split()[0] for request in s3.requests} == {"GET", "HEAD"}
    assert not any(request.startswith("GET") and "/files/" in request for request in s3.requests)


def test_the_bytes_are_told(publish: Publish, send: Act, get: Act, heard: Heard):
    size_bytes = publish().size_bytes
    send()
    get()
    assert [step.partition(" ")[0] for step in heard.steps] == [
        "Checking",
        "Uploading",
        "Looking",
        "Downloading",
        "Registering",
    ]
    assert heard.bytes_done.count((size_bytes, size_bytes)) == 2


def test_the_champion_of_the_store_becomes_that_of_the_bucket(
    store: LocalStore, remote: RemoteStore, publish: Publish, send: Act, get: Act
):
    old, beside = publish(b"old"), publish(b"beside", promote=False)
    assert send(beside.revision[:9]).is_promoted  # somebody must be
    assert send().is_promoted
    assert not send(beside.revision).is_promoted
    assert get().stored.revision == old.revision
    assert get(beside.revision[:9], promote=False).stored.revision == beside.revision
    store.promote("tiny", beside.revision)
    assert send() == Pushed(beside.manifest, is_new=False, is_promoted=True)
    assert get().stored.revision == beside.revision


def test_what_is_pulled_may_stay_beside_the_champion(other: LocalStore, publish: Publish, send: Act, get: Act):
    first = publish(b"1")
    send()
    assert get(promote=False).stored.is_current  # somebody must answer
    publish(b"2")
    send()
    assert not get(promote=False).stored.is_current
    assert other.find("tiny").revision == first.revision
    assert get().stored.is_current
    assert other.roles("tiny").previous == first.revision


def test_a_version_is_pushed_beside_a_champion_that_is_broken(publish: Publish, send: Act):
    whole, broken = publish(b"1"), publish(b"2")
    (broken.path / "manifest.json").unlink()
    assert send(whole.revision).is_new


def test_a_broken_version_is_not_pushed(s3: S3Server, publish: Publish, send: Act):
    (publish().path / "model.onnx").write_bytes(b"grapes")
    with pytest.raises(ModelCorrupt, match="6 bytes instead of 5"):
        send()
    assert s3.objects() == []


def test_what_is_nowhere_is_unknown(publish: Publish, send: Act, get: Act):
    with pytest.raises(ModelUnknown, match="no model 'tiny' in /"):
        send()
    with pytest.raises(ModelUnknown, match="no model 'tiny' in s3://"):
        get()


def test_a_broken_version_of_the_store_is_mended_by_a_pull(other: LocalStore, publish: Publish, send: Act, get: Act):
    publish()
    send()
    (get().stored.path / "model.onnx").write_bytes(b"grapes")
    assert get().is_new
    assert other.open("tiny").graph.read_bytes() == b"graph"


@pytest.mark.parametrize("what", ["files", "manifest.json", "roles.json"])
@pytest.mark.parametrize("data", [None, b"x" * 5])
def test_a_damaged_bucket_is_mended_by_a_push(
    s3: S3Server, publish: Publish, send: Act, get: Act, what: str, data: bytes | None
):
    publish()
    send()
    for key in s3.objects():
        if what in key:
            s3.overwrite(key, data)
    with pytest.raises((ModelCorrupt, ModelUnknown), match="s3://"):
        get()
    done = send()
    assert done.is_new is (what != "roles.json")
    assert get().is_new


def replace_graph(s3: S3Server, data: bytes | None) -> None:
    s3.overwrite(next(key for key in s3.objects() if key.endswith(GRAPH_SHA256)), data)


GRAPH_SHA256 = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"


def cut_off(request: str) -> Reply | None:
    return Reply(200, b"gra", 5) if request.endswith(GRAPH_SHA256) and request.startswith("GET") else None


def refuse(request: str) -> Reply | None:
    return Reply(403) if request.endswith(GRAPH_SHA256) else None


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (lambda s3: replace_graph(s3, None), "model.corrupt"),
        (lambda s3: replace_graph(s3, b"grap"), "model.corrupt"),
        (lambda s3: replace_graph(s3, b"graphs"), "model.corrupt"),
        (lambda s3: replace_graph(s3, b"grapH"), "model.corrupt"),
        (lambda s3: setattr(s3, "tamper", cut_off), "store.unreachable"),
        (lambda s3: setattr(s3, "tamper", refuse), "store.unusable"),
    ],
    ids=["missing", "shorter", "longer", "changed", "cut off", "refused"],
)
def test_a_pull_that_fails_leaves_the_store_as_it_was(
    s3: S3Server, publish: Publish, send: Act, get: Act, tamper: Act, code: str
):
    publish(b"before")
    send()
    root = get().stored.path.parents[1]
    before = content(root)
    publish(b"graph")
    send()
    tamper(s3)
    with pytest.raises(ModelError, match=GRAPH_SHA256) as caught:
        get()
    assert caught.value.code == code
    assert content(root) == before
    assert [path.name for path in root.iterdir()] == ["tiny"]


def test_a_disk_that_becomes_full_is_named_and_the_draft_is_gone(
    other: LocalStore, publish: Publish, send: Act, get: Act, monkeypatch: pytest.MonkeyPatch
):
    publish()
    send()
    opened = Path.open

    def refuse(path: Path, *args: Any, **named: Any) -> Any:
        if path.name == "model.onnx":
            raise OSError(28, "No space left on device", str(path))
        return opened(path, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreUnusable, match=r"cannot write to .*model\.onnx: No space left on device"):
        get()
    assert list(other.root.iterdir()) == []


def test_a_file_name_that_the_disk_cannot_have_is_an_error_of_ours(
    store: LocalStore, other: LocalStore, publish: Publish, send: Act, get: Act, monkeypatch: pytest.MonkeyPatch
):
    publish()
    send()
    opened = Path.open

    def refuse(path: Path, *args: Any, **named: Any) -> Any:
        if path.name == "card.md":
            raise OSError(36, "File name too long", str(path))
        return opened(path, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreUnusable, match="File name too long"):
        get()
    assert list(other.root.iterdir()) == []


@pytest.mark.parametrize("has_older", [False, True])
def test_a_pull_that_is_killed_anywhere_leaves_the_old_state_or_the_new(
    other: LocalStore, publish: Publish, send: Act, get: Act, tmp_path: Path, has_older: bool
):
    if has_older:
        publish(b"old")
        send()
        get()
    publish(b"new")
    send()

    def check() -> None:
        for stored in other.list_models():
            assert open_folder(stored.path).graph.read_bytes() in {b"old", b"new"}
        if has_older:
            assert sum(stored.is_current for stored in other.versions("tiny")) == 1
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        if other.root.exists():
            shutil.copytree(other.root, tmp_path / "copy")

    assert crash_everywhere(get, check, make_reset(other, tmp_path)) > 12
    assert other.open("tiny").graph.read_bytes() == b"new"


def test_a_push_that_is_killed_before_any_request_leaves_nothing_half_made_and_is_completed_by_the_next(
    s3: S3Server, store: LocalStore, bucket: Bucket, publish: Publish, tmp_path: Path, heard: Heard
):
    publish(bytes(6 << 20))  # more than one part

    def fresh_store(number: int) -> LocalStore:
        return LocalStore(tmp_path / f"fresh-{number}")

    for number in range(100):
        address = parse_address(f"{s3.address}/{number}")
        remote = RemoteStore(Bucket(address, ONCE, bucket.client))
        doomed = RemoteStore(Bucket(address, ONCE, CutOff(bucket.client, number)))
        try:
            push(store, doomed, heard, "tiny")
        except Crash:
            listed = list(remote.versions())
            assert all(not remote.missing_files(version.manifest) for version in listed)
            assert push(store, remote, heard, "tiny").is_new is not bool(listed)
        else:
            assert number > 14
            break
        pulled = pull(fresh_store(number), remote, heard, "tiny").stored
        assert open_folder(pulled.path).manifest == store.open("tiny").manifest
        shutil.rmtree(fresh_store(number).root)
    else:
        raise AssertionError("the push has more than 100 requests")


def test_the_same_revision_with_another_card_pushed_in_the_middle_of_a_push_mixes_nothing(
    s3: S3Server, store: LocalStore, other: LocalStore, remote: RemoteStore, publish: Publish, heard: Heard
):
    publish(created_at="2026-01-01")
    second = LocalStore(other.root.parent / "second")
    second.root.parent.mkdir()
    shutil.move(store.root, second.root)
    publish(created_at="2026-01-02")

    def interrupt(request: str) -> None:
        if request.startswith("PUT") and request.endswith("manifest.json"):
            s3.tamper = lambda _request: None
            assert push(second, remote, heard, "tiny").is_new

    s3.tamper = interrupt
    assert push(store, remote, heard, "tiny").is_new
    pull(other, remote, heard, "tiny")
    assert other.open("tiny").manifest.lineage.created_at == "2026-01-02"


def test_pushes_and_pulls_at_the_same_time_are_whole(
    bucket: Bucket, tmp_path: Path, publish: Publish, store: LocalStore, heard: Heard
):
    """Four stores push the same revision with cards of their own, and four pull meanwhile."""
    stores = []
    for number in range(4):
        publish(created_at=f"2026-01-0{number + 1}")
        stores.append(LocalStore(tmp_path / f"from-{number}"))
        shutil.move(store.root, stores[-1].root)

    def send(number: int) -> None:
        for _ in range(3):
            push(stores[number], RemoteStore(bucket), heard, "tiny")

    def get(number: int) -> None:
        for turn in range(3):
            target = LocalStore(tmp_path / f"to-{number}-{turn}")
            pull(target, RemoteStore(bucket), heard, "tiny")
            target.open("tiny")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    with ThreadPoolExecutor(8) as pool:
        for done in [
            *(pool.submit(send, number) for number in range(4)),
            *(pool.submit(get, number) for number in range(4)),
        ]:
            done.result()
