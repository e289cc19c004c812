import json
import os
from pathlib import Path

import pytest
from tests.support.manifests import manifest_fields
from tests.unit.models.conftest import Publish

from headrace.errors import ModelCorrupt
from headrace.models.folder import describe_files, open_folder
from headrace.models.manifest import FILE_NAME, MAX_MANIFEST_BYTES, FileEntry, make_manifest


@pytest.fixture
def folder(publish: Publish) -> Path:
    return publish().path


def test_a_folder_as_it_was_written_opens(folder: Path):
    opened = open_folder(folder)
    assert opened.graph.read_bytes() == b"graph"
    assert opened.tokenizer.read_bytes() == b"{}"


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference.json", "tokenizer.json", "card.md"])
def test_every_flipped_bit_is_noticed(folder: Path, name: str):
    whole = (folder / name).read_bytes()
    # Every bit of the small files; of the manifest, whose white space may change, every bit of the revision.
    start = whole.find(b'"revision"') if name == FILE_NAME else 0
    stop = start + 90 if name == FILE_NAME else len(whole)
    noticed = 0
    for bit in range(8 * start, 8 * stop):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(broken)
        try:
            open_folder(folder)
        except ModelCorrupt:
            noticed += 1
    (folder / name).write_bytes(whole)
    open_folder(folder)
    same_json = sum(_is_white_space_change(whole, bit) for bit in range(8 * start, 8 * stop))
    assert noticed == 8 * (stop - start) - same_json


def _is_white_space_change(whole: bytes, bit: int) -> bool:
    """Tell whether a flipped bit leaves the same JSON, such as a tab in place of a line break."""
    broken = bytearray(whole)
    broken[bit // 8] ^= 1 << bit % 8
    try:
        return bool(json.loads(broken) == json.loads(whole))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference.json", "tokenizer.json", "card.md"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(ModelCorrupt, match=name):
        open_folder(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference.json", "tokenizer.json", "card.md"])
@pytest.mark.parametrize("make", ["symlink", "folder", "fifo"])
def test_a_file_that_is_no_plain_file_is_named(folder: Path, name: str, make: str):
    target = folder / name
    elsewhere = folder.parent / "elsewhere"
    target.rename(elsewhere)
    if make == "symlink":
        target.symlink_to(elsewhere)
    elif make == "folder":
        target.mkdir()
    else:
        os.mkfifo(target)
    with pytest.raises(ModelCorrupt, match=f"{name} is no plain file"):
        open_folder(folder)


def test_a_file_that_the_manifest_does_not_list_is_named(folder: Path):
    (folder / "extra.bin").write_bytes(b"")
    with pytest.raises(ModelCorrupt, match=r"extra\.bin"):
        open_folder(folder)


@pytest.mark.parametrize("change", [b"graphs", b"grap", b""])
def test_another_size_is_noticed_without_reading_the_file(folder: Path, change: bytes):
    (folder / "model.onnx").write_bytes(change)
    with pytest.raises(ModelCorrupt, match=f"has {len(change)} bytes instead of 5"):
        open_folder(folder)


def test_a_manifest_of_absurd_size_is_not_read(folder: Path):
    (folder / FILE_NAME).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ModelCorrupt, match="larger than"):
        open_folder(folder)


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", "."])
def test_a_listed_path_that_leads_outside_is_refused(folder: Path, name: str):
    files = {**describe_files(folder), name: FileEntry(sha256="0" * 64, size_bytes=0)}
    manifest = make_manifest(**manifest_fields(), files=files)
    (folder / FILE_NAME).write_text(manifest.model_dump_json(), encoding="utf-8")
    with pytest.raises(ModelCorrupt, match="leads outside"):
        open_folder(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_manifest_without_a_needed_file_is_refused(folder: Path, name: str):
    files = {key: entry for key, entry in describe_files(folder).items() if key != name}
    (folder / name).unlink()
    (folder / FILE_NAME).write_text(make_manifest(**manifest_fields(), files=files).model_dump_json(), encoding="utf-8")
    with pytest.raises(ModelCorrupt, match="lists no"):
        open_folder(folder)
