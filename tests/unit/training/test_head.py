"""The head by itself is that of the families of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from headrace.export.quiet import quiet_libraries
from headrace.models.checkpoint import CONFIG, TOKENIZER, TOKENIZER_CONFIG, Checkpoint, read_checkpoint
from headrace.training.head import Head, HeadedBase

SIZES = {
    "vocab_size": 70,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
FAMILIES: list[tuple[Any, dict[str, Any]]] = [
    (transformers.BertConfig, SIZES),
    (transformers.RobertaConfig, SIZES | {"type_vocab_size": 1, "pad_token_id": 1}),
    (transformers.XLMRobertaConfig, SIZES | {"type_vocab_size": 1, "pad_token_id": 1}),
    (transformers.CamembertConfig, SIZES | {"type_vocab_size": 1, "pad_token_id": 1}),
    (transformers.ElectraConfig, SIZES | {"embedding_size": 16}),
    (transformers.MPNetConfig, SIZES | {"pad_token_id": 1}),
    (transformers.DistilBertConfig, {"vocab_size": 70, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
]
LABELS = {"id2label": {0: "bad", 1: "good", 2: "so-so"}, "label2id": {"bad": 0, "good": 1, "so-so": 2}}


def write_encoder(folder: Path, config: Any, tokenizer: Path, kind: str) -> Checkpoint:
    torch.manual_seed(0)
    with quiet_libraries():
        getattr(transformers, kind).from_config(config).save_pretrained(folder)
    words = Tokenizer.from_file(str(tokenizer))
    words.add_special_tokens(["[MASK]"])
    words.save(str(folder / TOKENIZER))
    (folder / TOKENIZER_CONFIG).write_text('{"mask_token": "[MASK]"}')
    return read_checkpoint(folder)


@pytest.mark.parametrize("kind", ["AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification"])
@pytest.mark.parametrize(("family", "sizes"), FAMILIES, ids=lambda each: getattr(each, "model_type", ""))
def test_transformers_reads_what_was_written_and_scores_the_same(
    tmp_path: Path, base: Checkpoint, family: Any, sizes: dict[str, Any], kind: str
):
    encoder = write_encoder(tmp_path, family(**sizes), base.folder / TOKENIZER, kind)
    head = Head(encoder, 3, seed=1).eval()
    out = tmp_path / "out"
    out.mkdir()
    HeadedBase(encoder, head, {**LABELS, "problem_type": "single_label_classification"}).save_pretrained(out)
    with quiet_libraries():
        loaded, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            out, output_loading_info=True, dtype="auto"
        )
    assert not any(report.values()), report
    assert type(loaded).__name__ == json.loads((out / CONFIG).read_text())["architectures"][0]
    assert loaded.config.id2label == LABELS["id2label"]
    ids = torch.tensor([[5, 9, 12, 33, 6]])
    with torch.inference_mode():
        expected = loaded.eval()(ids).logits
        found = head(loaded.base_model(ids).last_hidden_state[:, 0])
    assert torch.allclose(found, expected, atol=1e-6)
    assert expected.std() > 0


def test_a_head_that_fits_goes_on_and_another_begins_at_random(tmp_path: Path, base: Checkpoint):
    config = FAMILIES[1][0](**FAMILIES[1][1], num_labels=3)
    encoder = write_encoder(tmp_path, config, base.folder / TOKENIZER, "AutoModelForSequenceClassification")
    one, other = Head(encoder, 3, seed=1), Head(encoder, 3, seed=2)
    assert torch.equal(one.outer.weight, other.outer.weight)
    one, again, other = Head(encoder, 2, seed=1), Head(encoder, 2, seed=1), Head(encoder, 2, seed=2)
    assert torch.equal(one.inner.weight, other.inner.weight)
    assert torch.equal(one.outer.weight, again.outer.weight)
    assert not torch.equal(one.outer.weight, other.outer.weight)


@pytest.mark.parametrize(
    ("family", "sizes", "changes", "share"),
    [
        (transformers.BertConfig, SIZES, {}, 0.1),
        (transformers.BertConfig, SIZES, {"hidden_dropout_prob": 0.3}, 0.3),
        (transformers.BertConfig, SIZES, {"hidden_dropout_prob": 0.3, "classifier_dropout": 0.0}, 0.0),
        (transformers.DistilBertConfig, FAMILIES[-1][1], {}, 0.2),
        (transformers.DistilBertConfig, FAMILIES[-1][1], {"seq_classif_dropout": 0.4}, 0.4),
    ],
)
def test_dropout_is_that_of_the_configuration(
    tmp_path: Path, base: Checkpoint, family: Any, sizes: dict[str, Any], changes: dict[str, float], share: float
):
    encoder = write_encoder(tmp_path, family(**sizes, **changes), base.folder / TOKENIZER, "AutoModel")
    assert Head(encoder, 2, seed=0).dropout.p == share
