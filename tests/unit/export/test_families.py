"""Every family of encoders, as transformers makes it, against the graph that is built for it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tests.support.families import CONFIGS, MAX_TOKENS, Saved, load, save

from headrace.errors import HeadraceError, SourceInvalid, SourceUnsupported
from headrace.export.builder import build_graph
from headrace.export.families import is_known, read_encoder, relative_buckets
from headrace.export.plain import encode
from headrace.export.quiet import quiet_libraries
from headrace.types import FloatArray


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_graph_and_reference_of_a_family_agree_with_transformers(config: transformers.PretrainedConfig, tmp_path: Path):
    encoder = load(config)
    own_config, weights = save(encoder.encoder, tmp_path)
    assert is_known(own_config)
    known = read_encoder(own_config, weights, MAX_TOKENS)
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
        for row in range(texts):
            plain = encode(known, ids[row][mask[row] == 1]).mean(axis=0)
            np.testing.assert_allclose(plain, (wanted[row] * length_before[row]).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "electra with a projection"])
def test_the_encoder_of_a_checkpoint_with_a_head_is_the_same(name: str, tmp_path: Path):
    torch.manual_seed(0)
    with quiet_libraries():
        model = transformers.AutoModelForMaskedLM.from_config(CONFIGS[name]).eval()
    found = read_encoder(*save(model, tmp_path / "head"), MAX_TOKENS)
    expected = read_encoder(*save(model.base_model, tmp_path / "plain"), MAX_TOKENS)
    ids = np.arange(4, 40)
    np.testing.assert_array_equal(encode(found, ids), encode(expected, ids))


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return save(load(CONFIGS["bert"]).encoder, tmp_path)


def test_names_from_tensorflow_are_known(saved: Saved):
    config, weights = saved
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    assert old.keys() != weights.keys()
    ids = np.arange(4, 40)
    found, expected = (encode(read_encoder(config, each, 64), ids) for each in (old, weights))
    np.testing.assert_array_equal(found, expected)


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({QUERY: None}, SourceInvalid, r"lack 'encoder\.layer\.1\.attention\.self\.query\.weight'"),
        ({QUERY: np.zeros((32, 31), np.float32)}, SourceInvalid, "is 32 x 31 and config.json asks for 32 x 32"),
        ({QUERY: np.zeros(32, np.float32)}, SourceInvalid, "is 32 and config.json asks for 32 x 32"),
        ({QUERY: np.full((32, 32), np.nan, np.float32)}, SourceInvalid, "holds NaN"),
        ({"embeddings.position_embeddings.weight": np.zeros((9, 32), np.float32)}, SourceInvalid, "no row for 64"),
        ({"adapter.weight": np.zeros(1, np.float32)}, SourceUnsupported, r"1 weights.*'adapter\.weight'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    saved: Saved, changes: dict[str, FloatArray | None], error: type[HeadraceError], message: str
):
    config, weights = saved
    changed = {name: tensor for name, tensor in (weights | changes).items() if tensor is not None}
    with pytest.raises(error, match=message):
        read_encoder(config, changed, 64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", None),
        ("hidden_size", 33),
        ("hidden_size", "32"),
        ("num_hidden_layers", 0),
        ("num_attention_heads", True),
        ("intermediate_size", -1),
        ("layer_norm_eps", "small"),
        ("layer_norm_eps", float("nan")),
        ("embedding_size", 0),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_its_key(saved: Saved, key: str, value: object):
    config, weights = saved
    with pytest.raises(SourceInvalid) as caught:
        read_encoder(config | {key: value}, weights, 64)
    assert caught.value.field == key


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
    assert is_known({"model_type": "bert", "hidden_act": "gelu"})
    assert not is_known({"model_type": "bert", "hidden_act": "gelu"} | changes)


def test_position_buckets_are_those_of_transformers():
    model = transformers.models.mpnet.modeling_mpnet.MPNetEncoder
    distance = torch.arange(300)[None, :] - torch.arange(300)[:, None]
    wanted = model.relative_position_bucket(distance, num_buckets=32)
    np.testing.assert_array_equal(relative_buckets(300, 32), wanted.numpy())
