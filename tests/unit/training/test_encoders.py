import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training.encoders import load_with_head, require_trainable


def copied(base: Checkpoint, folder: Path) -> Path:
    shutil.copytree(base.folder, folder, dirs_exist_ok=True)
    return folder


def weight(model: PreTrainedModel, name: str) -> torch.Tensor:
    return dict(model.named_parameters())[name]


def test_a_head_follows_from_the_seed(base: Checkpoint):
    first, again, other = (
        weight(load_with_head(base, "SequenceClassification", seed, {"num_labels": 3}), "classifier.weight")
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_head_that_fits_is_kept(classifier: Checkpoint):
    kept = load_file(classifier.folder / "model.safetensors")
    same = load_with_head(classifier, "SequenceClassification", 0, {"num_labels": 3})
    other = load_with_head(classifier, "SequenceClassification", 0, {"num_labels": 2})
    assert torch.equal(weight(same, "classifier.weight"), kept["classifier.weight"])
    assert weight(other, "classifier.weight").shape == (2, 32)
    assert torch.equal(weight(other, "bert.pooler.dense.weight"), kept["bert.pooler.dense.weight"])


def test_an_encoder_that_is_not_whole_is_refused(base: Checkpoint, tmp_path: Path):
    folder = copied(base, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SourceInvalid, match=r"lacks 1 weights .* 'bert.encoder.layer.1.output.dense.weight'"):
        load_with_head(read_checkpoint(folder), "SequenceClassification", 0, {})


def test_what_transformers_cannot_load_is_told(base: Checkpoint, tmp_path: Path):
    folder = copied(base, tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 7}), encoding="utf-8")
    with pytest.raises(SourceUnsupported, match="cannot load 'BertModel'"):
        load_with_head(read_checkpoint(folder), "SequenceClassification", 0, {})


def test_a_finished_graph_is_no_base(base: Checkpoint):
    require_trainable(base)
    with pytest.raises(SourceUnsupported, match=r"'onnx/model.onnx' is a finished graph"):
        require_trainable(dataclasses.replace(base, weights="onnx/model.onnx"))


def test_a_family_that_could_not_be_imported_is_no_base(base: Checkpoint):
    with pytest.raises(SourceUnsupported, match="so none is trained"):
        require_trainable(dataclasses.replace(base, config={**base.config, "model_type": "modernbert"}))
