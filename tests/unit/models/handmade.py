"""Checkpoints and manifests of a few bytes, written by hand: these tests need no PyTorch."""

import json
import struct
from typing import Any


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
