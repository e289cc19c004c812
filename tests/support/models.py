"""A model small enough to build in a test, and real enough for the real engine.

Each word has a row of a table; an embedding is the mean of a text's rows. Two words misbehave on purpose:
``nan`` has a row of NaN, and ``poison`` has an id beyond the table, which makes ONNX Runtime fail the batch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tests.support.manifests import describe_model

from headrace.engine.agreement import Reference, write_reference
from headrace.models.store import LocalStore, StoredModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "nan", *(f"w{number}" for number in range(64)), "poison"]
DIMENSIONS = 8
MAX_TOKENS = 16


def build_graph(rows: int = len(WORDS) - 1, seed: int = 0) -> onnx.ModelProto:
    """Return the graph: ids and mask in, unit vector and its former length out."""
    table = np.random.default_rng(seed).normal(size=(rows, DIMENSIONS)).astype(np.float32)
    table[WORDS.index("nan")] = np.nan
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "length_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "length_axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("ReduceL2", ["mean", "last"], ["norm_column"], keepdims=1),
        helper.make_node("Div", ["mean", "norm_column"], ["embedding"]),
        helper.make_node("Squeeze", ["norm_column", "last"], ["norm"]),
    ]
    ids = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ids) for name in ("input_ids", "attention_mask")],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIMENSIONS]),
            helper.make_tensor_value_info("norm", TensorProto.FLOAT, ["batch"]),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "length_axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def build_tokenizer() -> tokenizers.Tokenizer:
    """Return a tokenizer that knows the words, split at white space."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def build_reference(seed: int = 0) -> Reference:
    """Return what the model answers to some texts, computed without any runtime."""
    texts = ("w1", "w2 w3", "w4 w5 w6 w7 w8")
    table = np.random.default_rng(seed).normal(size=(len(WORDS) - 1, DIMENSIONS)).astype(np.float32)
    answers: list[dict[str, Any]] = []
    for text in texts:
        mean = table[[2, *(WORDS.index(word) for word in text.split()), 3]].mean(axis=0)
        norm = np.asarray(np.linalg.norm(mean))
        answers.append({"embedding": mean / norm, "norm": norm})
    return Reference(texts, tuple(answers))


def write_files(folder: Path, seed: int = 0) -> None:
    """Write all files of the model but the manifest into a folder."""
    (folder / "model.onnx").write_bytes(build_graph(seed=seed).SerializeToString())
    build_tokenizer().save(str(folder / "tokenizer.json"))
    write_reference(folder / "reference.json", build_reference(seed))
    (folder / "card.md").write_text("A model made for a test.\n")


def add_model(store: LocalStore, name: str = "tiny", seed: int = 0) -> StoredModel:
    """Put the model into a store."""

    with store.draft() as draft:
        write_files(draft, seed)
        return store.publish(draft, lambda files: describe_model(name=name, dimensions=DIMENSIONS, **files))
