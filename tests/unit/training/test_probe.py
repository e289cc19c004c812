from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.support.headed import write_headed
from tests.unit.training.conftest import Watching, mill_rows, write_rows
from transformers import AutoModelForSequenceClassification

from headrace.export.pytorch import quiet_libraries
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training import probe
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.probe import Config
from headrace.training.run import Run
from headrace.training.tokens import TextTokenizer

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def test_it_learns_and_leaves_the_encoder_as_it_was(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=40, rows=8, learning_rate=3e-2, holdout=0.2)
    files = DataFiles(train=write_rows(tmp_path / "a.jsonl", mill_rows(120)), measure=None, columns={})
    outcome = probe.train(base, config, probe.read(files, config), Run(tmp_path, {}, config, Watching()), CPU)
    assert outcome.metrics["accuracy"] > 0.8  # one label in two is right by chance
    untouched = load_with_head(base, AutoModelForSequenceClassification, 0, {"num_labels": 2})
    before = dict(untouched.base_model.named_parameters())
    changed = {
        name for name, after in outcome.model.base_model.named_parameters() if not torch.equal(after, before[name])
    }
    assert changed == {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize(
    ("family", "config"),
    [
        (transformers.BertForSequenceClassification, {}),
        (transformers.RobertaForSequenceClassification, {"type_vocab_size": 1, "pad_token_id": 1}),
        (transformers.ElectraForSequenceClassification, {"embedding_size": 32}),
        (transformers.MPNetForSequenceClassification, {"pad_token_id": 1}),
        (transformers.DistilBertForSequenceClassification, {}),
    ],
)
def test_the_head_is_that_of_the_family(tmp_path: Path, family: Any, config: dict[str, int]):
    sizes = {
        "vocab_size": 70,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        **config,
    }
    if family is transformers.DistilBertForSequenceClassification:
        sizes = {"vocab_size": 70, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    torch.manual_seed(0)
    with quiet_libraries():
        model = family(family.config_class(**sizes)).eval()
    checkpoint = read_checkpoint(write_headed(tmp_path, transformers.BertForSequenceClassification, {0: "a", 1: "b"}))
    texts = TextTokenizer(checkpoint, None, print).tokenize(["the water", "wheel", "a b c d e f"])
    with torch.inference_mode():
        features = torch.cat([model.base_model(torch.tensor([list(ids)])).last_hidden_state[:, 0] for ids in texts.ids])
        scores = probe.apply_head(model, features)
        expected = torch.cat([model(torch.tensor([list(ids)])).logits for ids in texts.ids])
    assert torch.allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    "family", [transformers.BertForSequenceClassification, transformers.DistilBertForSequenceClassification]
)
def test_the_head_alone_is_trained(family: Any):
    sizes = (
        {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64}
        if "Distil" in family.__name__
        else {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    )
    model = family(family.config_class(vocab_size=70, **sizes))
    probe.freeze_encoder(model)
    trained = {name.split(".")[-2] for name, each in model.named_parameters() if each.requires_grad}
    assert trained == ({"pre_classifier", "classifier"} if "Distil" in family.__name__ else {"dense", "classifier"})
