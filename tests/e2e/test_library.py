"""Models from ordinary Python."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import transformers
from tests.support.headed import NAME, TEXTS, ask, import_into, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

import headrace
from headrace.errors import (
    InputTooLong,
    ModelUnknown,
    RequestInvalid,
    ServiceStopping,
    SettingInvalid,
    TaskUnsupported,
)
from headrace.library import Model

QUERY: Final = "Where does the wheel get its water?"
HEADS: Final[dict[str, tuple[Any, dict[int, str]]]] = {
    "embed": (transformers.BertModel, {0: "a", 1: "b"}),
    "classify": (transformers.BertForSequenceClassification, {0: "mill", 1: "river"}),
    "zeroshot": (transformers.BertForSequenceClassification, {0: "contradiction", 1: "entailment"}),
    "rerank": (transformers.BertForSequenceClassification, {0: "LABEL_0"}),
    "extract": (transformers.BertForTokenClassification, {0: "O", 1: "B-X"}),
    "answer": (transformers.BertForQuestionAnswering, {0: "LABEL_0", 1: "LABEL_1"}),
    "fill": (transformers.BertForMaskedLM, {0: "LABEL_0", 1: "LABEL_1"}),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for task, (head, labels) in HEADS.items():
        found[task] = tmp_path_factory.mktemp(task)
        import_into(found[task], write_headed(found[task] / "checkpoint", head, labels, tokenizer=TRAIN["wordpiece"]()))
    return found


def settings(home: Path, **options: Any) -> dict[str, Any]:
    return {"store.home": str(home), "engine.tune": False, **options}


@pytest.fixture
def embedder(homes: dict[str, Path]) -> Iterator[Model]:
    with headrace.load(NAME, settings(homes["embed"], **{"limits.max_inputs": 3})) as model:
        yield model


def test_vectors_are_those_of_the_service_however_long_the_list(homes: dict[str, Path], embedder: Model):
    vectors = embedder.embed(TEXTS * 3)
    expected = [each.values for each in asyncio.run(ask(homes["embed"], TEXTS, "embed")).results]  # type: ignore[attr-defined]
    assert vectors.shape == (15, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.concatenate([expected] * 3), atol=1e-6)
    assert embedder.embed([]).size == 0


def test_each_task_answers(homes: dict[str, Path]):
    texts = CORPUS[:7]
    answers: dict[str, Any] = {}
    for task, home in homes.items():
        with headrace.load(NAME, settings(home, **{"limits.max_inputs": 4})) as model:
            given: dict[str, Any] = {"query": QUERY} if task in {"rerank", "answer"} else {}
            given |= {"labels": ["water", "corn"]} if task == "zeroshot" else {}
            asked = [f"[MASK] {text}" for text in texts] if task == "fill" else texts
            answers[task] = getattr(model, task)(asked, **given)
            if task == "embed":
                answers["similarity"] = model.similarity(texts, QUERY)
    assert {task: len(found) for task, found in answers.items()} == dict.fromkeys([*HEADS, "similarity"], 7)
    assert sorted(each.index for each in answers["rerank"]) == list(range(7))
    scores = [each.score for each in answers["rerank"]]
    assert scores == sorted(scores, reverse=True)
    assert {label.name for label in answers["zeroshot"][0].labels} == {"water", "corn"}
    assert [(mask.start, mask.end) for one in answers["fill"] for mask in one.masks] == [(0, 6)] * 7
    assert all(
        span.text == text[span.start : span.end]
        for text, found in zip(texts, answers["answer"], strict=True)
        for span in found.answers
    )


def test_an_error_names_the_place_in_the_whole_list(embedder: Model):
    with pytest.raises(InputTooLong) as caught:
        embedder.embed(["a"] * 7 + ["water " * 60], truncate="error")
    assert caught.value.field == "inputs[7]"
    with pytest.raises(RequestInvalid) as caught_text:
        embedder.embed("the mill")
    assert caught_text.value.field == "inputs"
    with pytest.raises(TaskUnsupported):
        embedder.classify(["a"])
    assert embedder.embed(["still here"]).shape == (1, 32)


def test_what_cannot_be_loaded_is_refused(tmp_path: Path, homes: dict[str, Path]):
    with pytest.raises(ModelUnknown):
        headrace.load("nobody", settings(tmp_path))
    with pytest.raises(SettingInvalid):
        headrace.load(NAME, settings(homes["embed"], **{"engine.speed": 2}))
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"headrace-{NAME}")]


def test_threads_may_share_a_model(embedder: Model):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: embedder.embed([f"wheel {number % 3}"]), range(40)))
    for number, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, found[number % 3])


def test_it_is_released_when_it_is_closed_or_nobody_refers_to_it(homes: dict[str, Path]):
    model = headrace.load(NAME, settings(homes["embed"]))
    model.close()
    model.close()
    other = headrace.load(NAME, settings(homes["embed"]))
    assert threads() != []
    del other
    gc.collect()
    assert threads() == []
    with pytest.raises(ServiceStopping, match="was closed"):
        model.embed(["a"])


def test_a_program_that_closes_nothing_ends(homes: dict[str, Path]):
    program = f"""
import headrace
model = headrace.load({NAME!r}, {settings(homes["embed"])!r})
print(model.embed(["the mill"]).shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("(1, 32)\n", "", 0)
