"""Every family of encoders, as transformers makes it, against the graph that is built for it."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from headrace.export.builder import build_graph
from headrace.export.encoder import TextEncoder, quiet_libraries
from headrace.export.families import read_encoder, relative_buckets

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


def load(config: transformers.PretrainedConfig) -> TextEncoder:
    torch.manual_seed(0)
    with quiet_libraries():
        return TextEncoder(transformers.AutoModel.from_config(config).eval(), "mean").eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_graph_of_a_family_agrees_with_the_original(config: transformers.PretrainedConfig):
    encoder = load(config)
    known = read_encoder(encoder.config, encoder.weights(), MAX_TOKENS)
    assert known is not None
    model = build_graph(known, "mean").SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for texts, length in [(1, 1), (1, MAX_TOKENS), (5, 33)]:
        ids = random.integers(4, 50, (texts, length))
        mask = (np.arange(length) < random.integers(1, length + 1, (texts, 1))).astype(np.int64)
        ids[mask == 0] = config.pad_token_id
        embedding, norm = session.run(["embedding", "norm"], {"input_ids": ids, "attention_mask": mask})
        with torch.inference_mode():
            wanted, length_before = encoder(torch.from_numpy(ids), torch.from_numpy(mask))
        np.testing.assert_allclose(embedding, wanted.numpy(), atol=2e-5)
        np.testing.assert_allclose(norm, length_before.numpy(), rtol=2e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "modernbert"},
        {"hidden_act": "silu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
)
def test_what_is_not_known_exactly_is_left_to_the_exporter(changes: dict[str, Any]):
    assert read_encoder({"model_type": "bert", "hidden_act": "gelu"} | changes, {}, 16) is None


def test_position_buckets_are_those_of_transformers():
    model = transformers.models.mpnet.modeling_mpnet.MPNetEncoder
    distance = torch.arange(300)[None, :] - torch.arange(300)[:, None]
    wanted = model.relative_position_bucket(distance, num_buckets=32)
    np.testing.assert_array_equal(relative_buckets(300, 32), wanted.numpy())
