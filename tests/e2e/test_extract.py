"""Entities from a checkpoint to the answers of the service, beside the pipeline of transformers."""

import asyncio
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any, Final, cast

import onnx
import pytest
import tokenizers
import transformers
from tests.support.headed import WINDOW, ask, import_into, rest_client, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.api.responses import ExtractResponse
from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore
from headrace.options import Aggregation
from headrace.types import Entity, Extraction

LABELS: Final = dict(enumerate(("O", "B-MILL", "I-MILL", "B-RIVER", "I-RIVER")))
TEXTS: Final = (
    *CORPUS[:7],
    "the water 🌊 wheel 👩‍🔧 of the mill 🇩🇪",
    unicodedata.normalize("NFD", "Größere Räder für Müller, çà et là"),
    "تدور العجلة in the mill עם המים",
    "  leading and trailing  spaces  ",
    "zero\u200bwidth and \u00adsoft hyphens, tabs\tand\nlines",
    "İI ǅ ﬁ ½ Ω",
    "",
    "a",
)
KINDS: Final = tuple(TRAIN)


def write_tagger(folder: Path, kind: str) -> Path:
    tokenizer = TRAIN[kind]()
    return write_headed(folder, transformers.BertForTokenClassification, LABELS, tokenizer=tokenizer, seed=1)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return for each kind of tokenizer a folder with a checkpoint and a store that has it."""
    homes = {}
    for kind in KINDS:
        homes[kind] = tmp_path_factory.mktemp(kind)
        import_into(homes[kind], write_tagger(homes[kind] / "checkpoint", kind))
    return homes


def original(checkpoint: Path, aggregation: Aggregation) -> list[list[dict[str, Any]]]:
    with quiet_libraries():
        pipeline = transformers.pipeline(
            "token-classification", str(checkpoint), aggregation_strategy=aggregation, device="cpu"
        )
        return [cast("list[dict[str, Any]]", pipeline(text)) if text else [] for text in TEXTS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
async def test_entities_are_those_of_the_pipeline_of_transformers(
    homes: dict[str, Path], kind: str, aggregation: Aggregation
):
    results = (await ask(homes[kind], TEXTS, "extract", aggregation=aggregation)).results
    tokenizer, found = tokenizers.Tokenizer.from_file(str(homes[kind] / "checkpoint/tokenizer.json")), 0
    for text, result, wanted in zip(TEXTS, results, original(homes[kind] / "checkpoint", aggregation), strict=True):
        assert isinstance(result, Extraction)
        assert all(each.text == text[each.start : each.end] for each in result.entities)
        if kind == "wordpiece" and aggregation in {"first", "average", "max"} and not _is_as_long(text, tokenizer):
            continue
        name = "entity" if aggregation == "none" else "entity_group"
        expected: list[Any] = [
            (each[name], *_trim(text, each["start"], each["end"]), pytest.approx(float(each["score"]), abs=1e-5))
            for each in wanted
            if text[each["start"] : each["end"]].strip()
        ]
        assert [(each.label, each.start, each.end, each.score) for each in result.entities] == expected
        found += len(expected)
    assert found > 20


def _is_as_long(text: str, tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether no token has another length than what it stands for.

    The pipeline takes a token that has, such as an e that was an é of two characters, for a part of the word before.
    """
    encoding = tokenizer.encode(text)
    return all(
        len(token.removeprefix("##")) == end - start
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        if token not in {"[CLS]", "[SEP]", "[UNK]"}
    )


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    span = text[start:end]
    return start + len(span) - len(span.lstrip()), end - len(span) + len(span.rstrip())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_text_is_read_whole_if_that_is_asked_for(homes: dict[str, Path], kind: str):
    text = " ".join(CORPUS[:4] * 3)
    cut, whole = [
        cast("Extraction", (await ask(homes[kind], (text,), "extract", truncate=how)).results[0])
        for how in ("truncate", "chunk")
    ]
    assert (cut.windows, cut.truncated, whole.truncated) == (1, True, False)
    assert whole.windows > 2
    assert whole.entities[-1].end > 1.5 * cut.entities[-1].end
    _check(whole.entities, text)


def _check(entities: tuple[Entity, ...], text: str) -> None:
    assert all(each.text == text[each.start : each.end] for each in entities)
    starts = [each.start for each in entities]
    assert starts == sorted(starts)


async def test_the_model_says_what_it_is(homes: dict[str, Path]):
    manifest = LocalStore(homes["wordpiece"] / "models").open("mills").manifest
    assert (manifest.task, manifest.labels, manifest.dimensions) == ("extract", tuple(LABELS.values()), 5)
    assert (manifest.gate.passed, manifest.max_tokens, manifest.words) == (True, WINDOW, "spaces")


async def test_rest_answers_with_entities(homes: dict[str, Path]):
    async with rest_client(homes["wordpiece"]) as client:

        async def extract(**options: Any) -> Any:
            return await client.post("/api/v1/extract", json={"inputs": list(TEXTS), "options": options})

        whole, again, none = (await extract()).json(), (await extract()).json(), (await extract(threshold=2)).json()
        refused = [await extract(**bad) for bad in ({"aggregation": "all"}, {"threshold": "x"}, {"top_k": 1})]
    ExtractResponse.model_validate(whole)
    assert again["results"] == whole["results"]
    assert again["usage"]["cached"] == len(TEXTS)
    assert all(
        each["text"] == text[each["start"] : each["end"]]
        for text, result in zip(TEXTS, whole["results"], strict=True)
        for each in result["entities"]
    )
    assert sum(len(result["entities"]) for result in none["results"]) == 0
    assert [reply.status_code for reply in refused] == [422] * 3
    assert [reply.json()["field"] for reply in refused] == ["options.aggregation", "options.threshold", "options.top_k"]


def test_the_command_prints_entities_line_by_line(homes: dict[str, Path]):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "headrace",
            "extract",
            "--home",
            str(homes["byte_level"]),
            "--engine-isolation",
            "process",
        ],
        input="\n".join(CORPUS[:3]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert set(lines[0]["entities"][0]) == {"label", "score", "start", "end", "text"}


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, SourceInvalid, "classifier.weight"),
        ({"id2label": {"0": "a", "1": "a"}}, SourceInvalid, "id2label"),
        ({"hidden_act": "silu"}, SourceUnsupported, "architectures"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], field: str
):
    checkpoint = write_tagger(tmp_path / "checkpoint", "wordpiece")
    saved = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(saved | changes))
    with pytest.raises(error) as caught:
        import_into(tmp_path, checkpoint)
    assert getattr(caught.value, "field", None) == field
    assert LocalStore(tmp_path / "models").list_models() == []


async def test_texts_side_by_side_do_not_change_each_other(homes: dict[str, Path]):
    together = (await ask(homes["unigram"], TEXTS, "extract")).results
    alone = await asyncio.gather(*(ask(homes["unigram"], (text,), "extract") for text in TEXTS[:3]))
    for one, other in zip(alone, together, strict=False):
        pairs = zip(cast("Any", one.results[0]).entities, cast("Any", other).entities, strict=True)
        assert all(a.text == b.text and a.score == pytest.approx(b.score, abs=1e-6) for a, b in pairs)


async def test_a_checkpoint_with_a_graph_alone_answers_as_the_one_with_weights(homes: dict[str, Path], tmp_path: Path):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(homes["unigram"] / "checkpoint", checkpoint)
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "onnx").mkdir()
    graph = onnx.load(LocalStore(homes["unigram"] / "models").open("mills").path / "model.onnx")
    graph.graph.output[0].name = graph.graph.node[-1].output[0] = "logits"
    onnx.save(graph, checkpoint / "onnx/model.onnx")
    await asyncio.to_thread(import_into, tmp_path, checkpoint)
    shipped = (await ask(tmp_path, TEXTS, "extract")).results
    for one, other in zip(shipped, (await ask(homes["unigram"], TEXTS, "extract")).results, strict=True):
        pairs = zip(cast("Any", one).entities, cast("Any", other).entities, strict=True)
        assert all((a.text, a.score) == (b.text, pytest.approx(b.score, abs=1e-6)) for a, b in pairs)
