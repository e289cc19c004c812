import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from headrace.errors import SourceInvalid
from headrace.models.checkpoint import Checkpoint
from headrace.training.encoders import load_with_head
from headrace.training.tokens import TextTokenizer


def silent(_: str) -> None:
    pass


def test_texts_are_as_long_as_they_are(base: Checkpoint):
    said: list[str] = []
    texts = TextTokenizer(base, None, said.append).tokenize(["the water", "wheel", "the " * 60])
    assert texts.lengths == [4, 3, base.max_tokens]
    assert said == ["1 of 3 texts are longer than 40 tokens, and are cut there"]
    assert texts.ids[1].tolist() == [2, 58, 3]
    assert texts.spans[0].tolist() == [[0, 0], [0, 3], [4, 9], [0, 0]]
    assert texts.types is None


def test_texts_are_cut_where_it_is_asked_for_and_at_the_window_at_most(base: Checkpoint):
    assert TextTokenizer(base, 5, silent).tokenize(["the " * 60]).lengths == [5]
    assert TextTokenizer(base, 9999, silent).tokenize(["the " * 60]).lengths == [base.max_tokens]


def test_pairs_have_types(base: Checkpoint):
    texts = TextTokenizer(base, None, silent).tokenize([("the", "water wheel")], with_types=True)
    assert texts.types
    assert texts.types[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_batch_is_padded(base: Checkpoint):
    model = load_with_head(base, "SequenceClassification", 0, {"num_labels": 2})
    texts = TextTokenizer(base, None, silent).tokenize([("the", "wheel"), ("a", "water the")], with_types=True)
    batch = texts.inputs(np.array([1, 0]), model)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert batch["attention_mask"].tolist() == [[1] * 6, [1] * 5 + [0]]
    assert batch["input_ids"][1, -1] == model.config.pad_token_id
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_many_texts_are_one_list(base: Checkpoint):
    assert len(TextTokenizer(base, None, silent).tokenize(["the"] * 2500).ids) == 2500


def changed(base: Checkpoint, folder: Path, content: str) -> Checkpoint:
    shutil.copytree(base.folder, folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    return dataclasses.replace(base, folder=folder)


def test_a_tokenizer_of_another_model_is_refused(base: Checkpoint, tmp_path: Path):
    content = json.loads((base.folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["extra"] = 59
    with pytest.raises(SourceInvalid, match="gives ids up to 59, and the model has 59"):
        TextTokenizer(changed(base, tmp_path, json.dumps(content)), None, silent)


def test_a_file_that_is_no_tokenizer_is_refused(base: Checkpoint, tmp_path: Path):
    with pytest.raises(SourceInvalid, match="none that the tokenizers library reads"):
        TextTokenizer(changed(base, tmp_path, '{"model": {"type": "Guess"}}'), None, silent)
