"""A real tagger that comes as a quantized graph: its spans are those of the graph as it was shipped."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tests.support.headed import NAME, ask, ask_all, import_source
from tests.support.real import RAMPART, RAMPART_FOLDER, real_texts, unpack_checkpoint

from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore
from headrace.options import Aggregation
from headrace.types import Extraction

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

TEXTS: Final = (
    "My name is Maria Lopez, I live at 12 Oak Street, Springfield, IL 62704.",
    "Call 555-123-4567 or write to maria.lopez@example.com \U0001f469\u200d\U0001f527!",
    "IBAN DE89 3704 0044 0532 0130 00, passport X1234567, see https://example.org/u/maria",
    "\u05e9\u05de\u05d9 Maria \u05d5\u05d0\u05e0\u05d9 \u05d2\u05e8\u05d4 in Springfield",
    "",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("rampart")
    import_source(home, f"pypi:{RAMPART[0]}", sha256=RAMPART[1])
    return home


class Shipped:
    """Stands for a model of transformers: the graph as it was shipped, run by itself."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, **given: torch.Tensor) -> Any:
        feeds = {name: given[name].numpy() for name in ("input_ids", "attention_mask")}
        feeds["token_type_ids"] = np.zeros_like(feeds["input_ids"])
        return SimpleNamespace(logits=torch.from_numpy(self._session.run(["logits"], feeds)[0]))


def original(folder: Path, texts: tuple[str, ...], aggregation: Aggregation) -> list[list[dict[str, Any]]]:
    with quiet_libraries():
        model = transformers.BertForTokenClassification(transformers.BertConfig.from_pretrained(folder))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipeline = transformers.TokenClassificationPipeline(
            model=model, tokenizer=tokenizer, aggregation_strategy=aggregation
        )
    shipped = Shipped(folder / "onnx/model_q4.onnx")

    def forward(inputs: Any) -> Any:
        rest = {name: inputs.pop(name) for name in ("special_tokens_mask", "offset_mapping", "sentence")}
        last, words = inputs.pop("is_last"), inputs.pop("word_ids", None)
        logits = shipped(**inputs).logits
        return {"logits": logits, **rest, "is_last": last, "word_ids": words, "word_to_chars_map": None, **inputs}

    cast("Any", pipeline)._forward = forward
    with quiet_libraries(), torch.inference_mode():
        return [cast("Any", pipeline(text)) if text else [] for text in texts]


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
async def test_spans_are_those_of_the_shipped_graph(home: Path, tmp_path: Path, aggregation: Aggregation):
    texts = (*TEXTS, *(text[:600] for text in real_texts(40)))
    folder = unpack_checkpoint(tmp_path, RAMPART, RAMPART_FOLDER)
    expected = await asyncio.to_thread(original, folder, texts, aggregation)
    found = 0
    parts = [texts[start : start + 20] for start in range(0, len(texts), 20)]
    answers = await ask_all(home, parts, "extract", aggregation=aggregation)
    results = [result for answer in answers for result in answer.results]
    for text, result, wanted in zip(texts, results, expected, strict=True):
        assert isinstance(result, Extraction)
        assert all(each.text == text[each.start : each.end] for each in result.entities)
        spans: list[Any] = [
            (each["entity_group"], each["start"], each["end"], pytest.approx(float(each["score"]), abs=1e-4))
            for each in wanted
        ]
        assert [(each.label, each.start, each.end, each.score) for each in result.entities] == spans
        found += len(spans)
    assert found > 30


async def test_words_are_whole_where_that_is_asked_for(home: Path):
    (result,) = (await ask(home, TEXTS[:1], "extract", aggregation="first")).results
    assert isinstance(result, Extraction)
    assert [(each.label, each.text) for each in result.entities] == [
        ("GIVEN_NAME", "Maria"),
        ("SURNAME", "Lopez"),
        ("BUILDING_NUMBER", "12"),
        ("STREET_NAME", "Oak Street"),
        ("CITY", "Springfield"),
        ("STATE", "IL"),
        ("ZIP_CODE", "62704"),
    ]


def test_the_manifest_says_that_its_weights_are_quantized(home: Path):
    manifest = LocalStore(home / "models").open(NAME).manifest
    assert (manifest.task, manifest.precision, manifest.opset, len(manifest.labels)) == ("extract", "quantized", 18, 35)
    assert manifest.gate.passed
