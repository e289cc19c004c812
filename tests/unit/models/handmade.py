"""Checkpoints and manifests of a few bytes, written by hand: these tests need no PyTorch."""

import json
import struct
from typing import Any

from headrace.models.manifest import GateOutput, GateReport, Lineage, Tensor


def safetensors_bytes(header: dict[str, Any] | None = None, data: bytes = bytes(32)) -> bytes:
    """Return a safetensors file: two tensors, unless a header is given."""
    if header is None:
        header = {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
        }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


CHECKPOINT_FILES: dict[str, bytes] = {
    "config.json": json.dumps(
        {"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": 512, "pad_token_id": 0}
    ).encode(),
    "model.safetensors": safetensors_bytes(),
    "tokenizer.json": json.dumps({"model": {"type": "WordPiece"}, "normalizer": {"type": "BertNormalizer"}}).encode(),
    "tokenizer_config.json": json.dumps({"model_max_length": 512}).encode(),
    "modules.json": json.dumps(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
    ).encode(),
    "1_Pooling/config.json": json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}).encode(),
    "sentence_bert_config.json": json.dumps({"max_seq_length": 256, "do_lower_case": False}).encode(),
    "README.md": b"---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n",
}


def manifest_fields(**changes: Any) -> dict[str, Any]:
    """Return the fields of a manifest, without its files."""
    gate = GateReport(
        passed=True,
        texts=1,
        min_cosine_required=0.9999,
        max_difference_allowed=1e-3,
        outputs=(GateOutput(name="embedding", min_cosine=1.0, mean_cosine=1.0, max_difference=0.0),),
        worst_text="one word",
    )
    lineage = Lineage(
        source="org/name",
        source_revision=None,
        weights_sha256="0" * 64,
        architecture="BertModel",
        license=None,
        created_at="2026-01-01T00:00:00+00:00",
        tools={},
    )
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": "embed",
        "dimensions": 4,
        "max_tokens": 16,
        "pooling": "mean",
        "normalize": True,
        "opset": 20,
        "inputs": (Tensor(name="input_ids", dtype="int64", shape=("batch", "length")),),
        "outputs": (Tensor(name="embedding", dtype="float32", shape=("batch", 4)),),
        "lineage": lineage,
        "gate": gate,
    }
    return fields | changes
