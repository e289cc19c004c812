"""Fixtures of the handmade checkpoint and of a store of handmade models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.manifests import manifest_fields
from tests.unit.models.handmade import CHECKPOINT_FILES

from headrace.models.manifest import Manifest, make_manifest
from headrace.models.store import LocalStore, StoredModel

WriteJson = Callable[[str, Any], None]
Publish = Callable[..., StoredModel]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a folder in the sentence-transformers layout that passes every check."""
    folder = tmp_path / "checkpoint"
    for name, content in CHECKPOINT_FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def write_json(checkpoint: Path) -> WriteJson:
    """Return a function that replaces a JSON file of the checkpoint."""

    def write(name: str, content: Any) -> None:
        (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).write_text(json.dumps(content), encoding="utf-8")

    return write


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home" / "models")


@pytest.fixture
def publish(store: LocalStore) -> Publish:
    """Return a function that publishes a version; other ``graph`` bytes make another revision."""

    def publish_version(
        graph: bytes = b"graph", created_at: str = "2026-01-01", *, promote: bool = True, **changes: Any
    ) -> StoredModel:
        fields = manifest_fields(**changes)
        fields["lineage"] = fields["lineage"].model_copy(update={"created_at": created_at})

        def make(files: dict[str, object]) -> Manifest:
            return make_manifest(**fields, **files)

        with store.draft() as draft:
            (draft / "model.onnx").write_bytes(graph)
            (draft / "reference.json").write_bytes(b"{}")
            (draft / "tokenizer.json").write_bytes(b"{}")
            (draft / "card.md").write_text(f"made {created_at}", encoding="utf-8")
            return store.publish(draft, make, promote=promote)

    return publish_version
