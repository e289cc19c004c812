from pathlib import Path

import pytest

from headrace.errors import SourceInvalid, SourceUnsafe
from headrace.models import files
from headrace.models.files import read_json, read_object, require_plain


def test_a_plain_file_is_found_in_the_folder_and_below(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.json").write_text("[1]")
    assert require_plain(tmp_path, "a/b.json") == tmp_path / "a/b.json"
    assert read_json(tmp_path, "a/b.json") == [1]


@pytest.mark.parametrize("name", ["missing.json", "missing/config.json"])
def test_a_file_that_is_not_there_is_nothing(tmp_path: Path, name: str):
    assert require_plain(tmp_path, name) is None
    assert read_json(tmp_path, name) is None
    assert read_object(tmp_path, name) == {}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/hostname", "a\\..\\x", "a\0b"])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str):
    with pytest.raises(SourceUnsafe, match="leads outside"):
        require_plain(tmp_path / "folder", name)


@pytest.mark.parametrize("name", ["link.json", "folder_link/real.json", "folder", "real.json/x", "real.json/."])
def test_links_and_folders_are_no_files(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "folder/real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "folder_link").symlink_to(tmp_path / "folder")
    if name == "real.json/.":
        assert require_plain(tmp_path, name) == tmp_path / "real.json"  # the same file, spelled longer
        return
    with pytest.raises(SourceUnsafe, match="cp -rL"):
        require_plain(tmp_path, name)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"{} {}"])
def test_what_is_not_json_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(SourceInvalid, match=r"config\.json is not JSON"):
        read_json(tmp_path, "config.json")


@pytest.mark.parametrize("content", ["[]", "1", '"text"'])
def test_what_is_no_object_is_refused_by_name(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SourceInvalid, match=r"config\.json is no JSON object"):
        read_object(tmp_path, "config.json")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 10)
    (tmp_path / "config.json").write_text(" " * 11)
    with pytest.raises(SourceInvalid, match="11 bytes"):
        read_json(tmp_path, "config.json")
