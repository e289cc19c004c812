import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.manifests import manifest_fields

from headrace.errors import ModelCorrupt
from headrace.models.manifest import FileEntry, Manifest, make_manifest, parse_manifest

FILES = {name: FileEntry(sha256="1" * 64, size_bytes=1) for name in ("model.onnx", "tokenizer.json", "card.md")}


def make(**changes: Any) -> Manifest:
    return make_manifest(**(manifest_fields() | {"files": FILES} | changes))


def test_a_written_manifest_reads_back_as_it_was():
    manifest = make()
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


def test_the_same_model_imported_twice_has_the_same_revision():
    fields = manifest_fields()
    later = fields["lineage"].model_copy(update={"created_at": "2030-01-01", "source": "./elsewhere"})
    gate = fields["gate"].model_copy(update={"worst_text": "another"})
    card = FILES | {"card.md": FileEntry(sha256="2" * 64, size_bytes=2)}
    assert make(lineage=later, gate=gate, name="other", files=card).revision == make().revision


@pytest.mark.parametrize(
    "change",
    [
        {"files": FILES | {"model.onnx": FileEntry(sha256="2" * 64, size_bytes=1)}},
        {"files": FILES | {"tokenizer.json": FileEntry(sha256="2" * 64, size_bytes=1)}},
        {"max_tokens": 17},
        {"pooling": "cls"},
        {"normalize": False},
        {"dimensions": 5},
        {"prompts": {"query": "query: "}},
    ],
)
def test_what_changes_the_answers_changes_the_revision(change: dict[str, Any]):
    assert make(**change).revision != make().revision


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"{}"])
def test_what_is_no_manifest_is_refused(data: bytes):
    with pytest.raises(ModelCorrupt, match="import the model again"):
        parse_manifest(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_tokens", 15), ("normalize", False), ("revision", "0" * 64), ("format", 2), ("pooling", "last"), ("new", 1)],
)
def test_a_changed_field_is_noticed(key: str, value: object):
    content = json.loads(make().model_dump_json()) | {key: value}
    with pytest.raises(ModelCorrupt):
        parse_manifest(json.dumps(content).encode())


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_a_named_error(data: bytes):
    with pytest.raises(ModelCorrupt):
        parse_manifest(data)
