"""Every family of encoders as transformers makes it, tiny and of random weights."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
import transformers

from headrace.export.pytorch import TextEncoder
from headrace.export.quiet import quiet_libraries
from headrace.export.tensors import read_tensors
from headrace.types import FloatArray

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 300,
    "initializer_range": 0.3,  # larger than usual, so that a wrong mask, position or weight shows
}
CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "bert": transformers.BertConfig(**SIZES),
    "bert with relu": transformers.BertConfig(**SIZES, hidden_act="relu"),
    "bert with approximate gelu": transformers.BertConfig(**SIZES, hidden_act="gelu_new"),
    "roberta": transformers.RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm-roberta": transformers.XLMRobertaConfig(**SIZES, type_vocab_size=1),
    "camembert": transformers.CamembertConfig(**SIZES, type_vocab_size=1),
    "electra": transformers.ElectraConfig(**SIZES, embedding_size=32),
    "electra with a projection": transformers.ElectraConfig(**SIZES, embedding_size=16),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=50, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=300, initializer_range=0.3
    ),
    "mpnet": transformers.MPNetConfig(**SIZES),
}
MAX_TOKENS = 280  # further than the 128 positions after which MPNet's buckets are all the same


Saved = tuple[dict[str, Any], dict[str, FloatArray]]


def load(config: transformers.PretrainedConfig) -> TextEncoder:
    torch.manual_seed(0)
    with quiet_libraries():
        return TextEncoder(transformers.AutoModel.from_config(config).eval(), "mean").eval()


def with_head(kind: Any, config: transformers.PretrainedConfig, labels: int = 3) -> Any:
    """Return a model with a head."""
    torch.manual_seed(0)
    own = copy.deepcopy(config)
    own.num_labels = labels
    with quiet_libraries():
        return kind.from_config(own).eval()


def save(model: Any, folder: Path) -> Saved:
    """Save a model as transformers does, and read back what an import reads."""
    with quiet_libraries():
        model.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text()), read_tensors(folder / "model.safetensors")
