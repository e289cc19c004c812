"""A random BERT of 30 000 weights, saved as a user's checkpoint would be."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from headrace.export.pytorch import TextEncoder, load_encoder
from headrace.export.quiet import quiet_libraries
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.models.store import LocalStore

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "the", "water", "wheel"]
MAX_TOKENS = 40


class Silent:
    """A progress that nobody looks at."""

    def step(self, text: str) -> AbstractContextManager[None]:
        return nullcontext()

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        pass


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(WORDS[:4])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    # As the files of the hub often have it: the importer must not let it through.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def tiny_bert(**changes: Any) -> transformers.BertConfig:
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,  # larger than usual, so that a wrong mask or weight shows
    }
    return transformers.BertConfig(**{**sizes, **changes})


def write_checkpoint(folder: Path, pooling: str = "mean", **changes: Any) -> Path:
    """Write the tiny BERT in the sentence-transformers layout; ``changes`` are those of its configuration."""
    torch.manual_seed(0)
    with quiet_libraries():
        transformers.BertModel(tiny_bert(**changes)).save_pretrained(folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    files = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64},
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode": pooling, "embedding_dimension": 32},
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Checkpoint:
    return read_checkpoint(tiny_folder)


@pytest.fixture(scope="session")
def tiny_encoder(tiny: Checkpoint) -> TextEncoder:
    return load_encoder(tiny)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "home" / "models")
    yield store
    assert not list(store.root.glob(".draft-*"))
