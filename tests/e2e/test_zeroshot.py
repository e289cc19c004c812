"""A model of natural language inference from a checkpoint to the answers of the service, beside transformers."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, cast

import pytest
import transformers
from tests.support.headed import import_into, rest_client, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.api.responses import ZeroshotResponse
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore

LABELS: Final = {0: "contradiction", 1: "neutral", 2: "entailment"}
NAMES: Final[dict[str, Any]] = {"label2id": {name: number for number, name in LABELS.items()}}
TOPICS: Final = ("water", "grinding corn", "größere Räder")
TEXTS: Final = (*CORPUS[:7], "the mill", "water " * 60)  # the pipeline takes an empty text for no text
HEAD: Final = transformers.BertForSequenceClassification


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for kind, train in TRAIN.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        import_into(
            found[kind], write_headed(found[kind] / "checkpoint", HEAD, LABELS, tokenizer=train(), seed=3, **NAMES)
        )
    return found


def original(checkpoint: Path, **options: Any) -> list[dict[str, Any]]:
    with quiet_libraries():
        pipe = transformers.pipeline("zero-shot-classification", model=str(checkpoint), device="cpu")
        return cast("list[dict[str, Any]]", pipe(list(TEXTS), candidate_labels=list(TOPICS), **options))


async def classify(home: Path, *texts: str, labels: tuple[str, ...] = TOPICS, **options: Any) -> Any:
    async with rest_client(home) as client:
        body = {"inputs": texts or TEXTS, "labels": labels, "options": options}
        return (await client.post("/api/v1/zeroshot", json=body)).json()


@pytest.mark.parametrize("kind", TRAIN)
@pytest.mark.parametrize("multi_label", [False, True])
async def test_labels_are_those_of_transformers(homes: dict[str, Path], kind: str, multi_label: bool):
    answer = await classify(homes[kind], template="It is {}.", multi_label=multi_label)
    ZeroshotResponse.model_validate(answer)
    expected = await asyncio.to_thread(
        original, homes[kind] / "checkpoint", hypothesis_template="It is {}.", multi_label=multi_label
    )
    for found, wanted in zip(answer["results"], expected, strict=True):
        scores = {each["label"]: each["score"] for each in found["labels"]}
        assert scores == pytest.approx(dict(zip(wanted["labels"], wanted["scores"], strict=True)), abs=1e-5)
    assert len({each["labels"][0]["label"] for each in answer["results"]}) > 1  # else any order would do
    assert [each["truncated"] for each in answer["results"]][-2:] == [False, True]


async def test_the_model_says_what_it_is(homes: dict[str, Path]):
    manifest = LocalStore(homes["wordpiece"] / "models").open("mills").manifest
    assert (manifest.task, manifest.labels, manifest.gate.passed) == ("zeroshot", tuple(LABELS.values()), True)
    assert [tensor.name for tensor in manifest.inputs] == ["input_ids", "attention_mask", "token_type_ids"]


async def test_a_long_text_is_read_whole_if_that_is_asked_for(homes: dict[str, Path]):
    text = " ".join(CORPUS[:4] * 3)
    whole = (await classify(homes["wordpiece"], text, truncate="chunk"))["results"][0]
    assert (whole["windows"] > 2, whole["truncated"]) == (True, False)
    refused = await classify(homes["wordpiece"], "a", text, truncate="error")
    assert (refused["code"], refused["field"]) == ("input.too_long", "inputs[1]")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"labels": []}, "labels"),
        ({"labels": ["a", "a"]}, "labels[1]"),
        ({"labels": ["a", "x" * 200_000]}, "labels[1]"),
        ({"labels": ["a", "\ud800"]}, None),
        ({"labels": [f"{number}" for number in range(2000)]}, "labels"),
        ({"labels": ["a"], "options": {"template": "none"}}, "options.template"),
        ({"labels": ["a"], "options": {"raw": True}}, "options.raw"),
        ({}, "labels"),
    ],
)
async def test_bad_labels_are_refused_by_name(homes: dict[str, Path], body: dict[str, Any], field: str | None):
    async with rest_client(homes["wordpiece"]) as client:
        content = json.dumps({"inputs": ["the mill"], **body})
        refused = await client.post("/api/v1/zeroshot", content=content, headers={"content-type": "application/json"})
        assert 400 <= refused.status_code < 500
        assert field is None or refused.json()["field"] == field
        fine = await client.post("/api/v1/zeroshot", json={"inputs": ["the mill"], "labels": ["water"]})
        assert fine.status_code == 200


async def test_what_was_read_with_a_label_is_remembered_whatever_the_others_are(homes: dict[str, Path]):
    async with rest_client(homes["wordpiece"]) as client:
        ask = {"inputs": ["the mill", "the wheel"], "labels": ["water", "corn"]}
        first = (await client.post("/api/v1/zeroshot", json=ask)).json()
        other = {**ask, "labels": ["corn", "wheels"], "options": {"multi_label": True, "top_k": 1}}
        second = (await client.post("/api/v1/zeroshot", json=other)).json()
    assert (first["usage"]["cached"], second["usage"]["cached"]) == (0, 2)


def test_the_command_classifies_the_lines_of_a_file(homes: dict[str, Path]):
    arguments = ["zeroshot", *(part for topic in TOPICS for part in ("--label", topic)), "--top-k", "2"]
    chosen = ["--home", str(homes["wordpiece"]), "--limits-max-inputs", "7"]  # two lines at a time
    result = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments, *chosen],
        input="\n".join(CORPUS[:5]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    expected = asyncio.run(classify(homes["wordpiece"], *CORPUS[:5], top_k=2))["results"]
    assert [line.pop("index") for line in lines] == list(range(5))
    for line, wanted in zip(lines, expected, strict=True):
        assert [each["label"] for each in line["labels"]] == [each["label"] for each in wanted["labels"]]
        assert [each["score"] for each in line["labels"]] == pytest.approx(
            [each["score"] for each in wanted["labels"]], abs=1e-6
        )
