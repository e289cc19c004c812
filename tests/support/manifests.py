"""Manifests for models that no import made."""

from typing import Any

from headrace.models.manifest import FileEntry, GateOutput, GateReport, Lineage, Manifest, Tensor, make_manifest


def make_lineage(**changes: Any) -> Lineage:
    """Return a lineage, with some fields of one's own."""
    fields: dict[str, Any] = {
        "source": "org/name",
        "source_revision": None,
        "weights_sha256": "0" * 64,
        "architecture": "BertModel",
        "license": None,
        "created_at": "2026-01-01T00:00:00+00:00",
        "tools": {},
    }
    return Lineage(**fields | changes)


def make_gate() -> GateReport:
    """Return the report of a model that passed."""
    return GateReport(
        passed=True,
        texts=55,
        min_cosine_required=0.9999,
        max_difference_allowed=1e-3,
        outputs=(GateOutput(name="embedding", min_cosine=0.9999999, mean_cosine=1.0, max_difference=3e-7),),
        worst_text="one word",
    )


def manifest_fields(dimensions: int = 4, **changes: Any) -> dict[str, Any]:
    """Return the fields of a manifest without its files, with some of one's own."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": "embed",
        "dimensions": dimensions,
        "max_tokens": 16,
        "pooling": "mean",
        "normalize": True,
        "opset": 20,
        "inputs": tuple(
            Tensor(name=name, dtype="int64", shape=("batch", "length")) for name in ("input_ids", "attention_mask")
        ),
        "outputs": (
            Tensor(name="embedding", dtype="float32", shape=("batch", dimensions)),
            Tensor(name="norm", dtype="float32", shape=("batch",)),
        ),
        "lineage": make_lineage(),
        "gate": make_gate(),
    }
    return fields | changes


def describe_model(**changes: Any) -> Manifest:
    """Return a whole manifest; its one file is empty unless ``files`` are given."""
    files = {"files": {"model.onnx": FileEntry(sha256="0" * 64, size_bytes=0)}}
    return make_manifest(**manifest_fields(**files | changes))
