"""A model that is small enough to be computed in every precision, in a store."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.encoders import random_encoder, write_encoder
from tests.support.manifests import describe_model
from tests.support.models import WORDS, build_tokenizer

from headrace.engine.agreement import Reference, write_reference
from headrace.engine.base import TokenBatch
from headrace.engine.onnx import OnnxBackend
from headrace.export.graph import OPSET
from headrace.models.folder import ModelFolder
from headrace.models.store import LocalStore

NAME = "tiny"
WINDOW = 80
TEXTS = tuple(" ".join(WORDS[5 + (start + step) % 60] for step in range(5 + start % 40)) for start in range(24))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> LocalStore:
    return LocalStore(home / "models")


@pytest.fixture
def folder(store: LocalStore) -> ModelFolder:
    tokenizer = build_tokenizer()
    with store.draft() as draft:
        graph = write_encoder(draft / "model.onnx", random_encoder(vocabulary=len(WORDS), window=WINDOW))
        tokenizer.save(str(draft / "tokenizer.json"))
        backend = OnnxBackend(graph, 1)
        answers = [_answer(backend, tokenizer.encode(text).ids) for text in TEXTS]
        backend.close()
        write_reference(draft / "reference.json", Reference(TEXTS, tuple(answers)))
        (draft / "card.md").write_text("A model made for a test.\n")

        def describe(files: dict[str, Any]) -> Any:
            return describe_model(name=NAME, dimensions=64, max_tokens=WINDOW, opset=OPSET, **files)

        store.publish(draft, describe)
    return store.open(NAME)


def _answer(backend: OnnxBackend, ids: list[int]) -> dict[str, Any]:
    row = np.array([ids], np.int64)
    found = backend.run(TokenBatch(input_ids=row, attention_mask=np.ones_like(row)))
    return {name: array[0] for name, array in found.items()}


class Silent:
    """Hears of the steps and shows none."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def step(self, text: str) -> Any:
        """Note the step."""
        self.heard.append(text)
        return contextlib.nullcontext()

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Do nothing."""
