"""A classifier from a checkpoint to the answers of the service, beside the pipeline of transformers."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import pytest
import transformers
from tests.support.headed import TEXTS, ask, import_into, rest_client, write_headed

from headrace.api.responses import ClassifyResponse
from headrace.errors import SourceInvalid, SourceUnsupported, TaskUnsupported
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore
from headrace.types import Classification

LABELS = {0: "mill", 1: "river", 2: "neither"}
Problem = Literal["multi_label_classification", "regression"]


def write_classifier(
    folder: Path, problem: Problem | None, *, labels: Mapping[int, str] = LABELS, **changes: Any
) -> Path:
    write_headed(folder, transformers.BertForSequenceClassification, labels, problem_type=problem)
    if changes:
        saved = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(saved | changes))
    return folder


@pytest.mark.parametrize(("problem", "function"), [(None, "softmax"), ("multi_label_classification", "sigmoid")])
async def test_answers_are_those_of_the_pipeline_of_transformers(
    tmp_path: Path, problem: Problem | None, function: str
):
    checkpoint = write_classifier(tmp_path / "checkpoint", problem)
    await asyncio.to_thread(import_into, tmp_path, checkpoint)
    answer = await ask(tmp_path, TEXTS, "classify")
    with quiet_libraries():
        pipeline = transformers.pipeline("text-classification", str(checkpoint), device="cpu")
        expected = pipeline(list(TEXTS), top_k=None, truncation=True, max_length=40)
    for found, wanted in zip(answer.results, expected, strict=True):
        assert isinstance(found, Classification)
        assert {label.name: label.score for label in found.labels} == pytest.approx(
            {each["label"]: each["score"] for each in cast("list[dict[str, Any]]", wanted)}, abs=1e-5
        )
    assert [result.truncated for result in answer.results] == [False] * 4 + [True]
    manifest = LocalStore(tmp_path / "models").open("mills").manifest
    assert (manifest.task, manifest.labels, manifest.function) == ("classify", tuple(LABELS.values()), function)
    assert (manifest.dimensions, manifest.gate.passed) == (3, True)


async def test_a_text_over_the_window_is_classified_whole_if_that_is_asked_for(tmp_path: Path):
    await asyncio.to_thread(import_into, tmp_path, write_classifier(tmp_path / "checkpoint", None))
    (result,) = (await ask(tmp_path, ("the " * 60,), "classify", truncate="chunk")).results
    assert isinstance(result, Classification)
    assert (result.windows, result.truncated) == (2, False)
    assert sum(label.score for label in result.labels) == pytest.approx(1)


async def test_a_classifier_embeds_nothing(tmp_path: Path):
    await asyncio.to_thread(import_into, tmp_path, write_classifier(tmp_path / "checkpoint", None))
    with pytest.raises(TaskUnsupported, match="does 'classify', not 'embed'"):
        await ask(tmp_path, ("a",), "embed")


async def test_rest_answers_with_the_labels_that_were_asked_for(tmp_path: Path):
    await asyncio.to_thread(import_into, tmp_path, write_classifier(tmp_path / "checkpoint", None))
    async with rest_client(tmp_path) as client:

        async def classify(**options: Any) -> httpx.Response:
            return await client.post("/api/v1/classify", json={"inputs": ["the wheel"], "options": options})

        whole, best = (await classify()).json(), (await classify(top_k=1)).json()
        none, raw = (await classify(threshold=1.1)).json(), (await classify(raw=True)).json()
        refused = [await classify(**bad) for bad in ({"top_k": 0}, {"threshold": "x"}, {"labels": 1})]
        described = (await client.get("/api/v1/models/mills")).json()
        wrong = await client.post("/api/v1/embed", json={"inputs": ["the wheel"]})
    ClassifyResponse.model_validate(whole)
    labels = whole["results"][0]["labels"]
    assert {each["label"] for each in labels} == set(LABELS.values())
    assert sum(each["score"] for each in labels) == pytest.approx(1)
    assert best["results"][0]["labels"] == labels[:1]
    assert none["results"][0]["labels"] == []
    assert [each["label"] for each in raw["results"][0]["labels"]] == [each["label"] for each in labels]
    assert [response.status_code for response in refused] == [422] * 3
    assert [response.json()["field"] for response in refused] == [
        "options.top_k",
        "options.threshold",
        "options.labels",
    ]
    assert (described["task"], described["labels"]) == ("classify", list(LABELS.values()))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "task.unsupported")


def test_the_command_prints_labels_line_by_line(tmp_path: Path):
    import_into(tmp_path, write_classifier(tmp_path / "checkpoint", None))
    (tmp_path / "texts.txt").write_text("the water\nthe wheel\n")
    arguments = ["classify", str(tmp_path / "texts.txt"), "--home", str(tmp_path), "--top-k", "2"]
    done = subprocess.run([sys.executable, "-m", "headrace", *arguments], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1]
    assert all(len(line["labels"]) == 2 and set(line["labels"][0]) == {"label", "score"} for line in lines)


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, SourceInvalid, "id2label"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, SourceInvalid, "id2label"),
        ({"id2label": None}, SourceInvalid, "classifier.weight"),
        ({"id2label": ["a", "b", "c"]}, SourceInvalid, "id2label"),
        ({"id2label": {"0": "a", "1": "b", "2": 7}}, SourceInvalid, "id2label"),
        ({"id2label": {"0": "a", "1": "b"}}, SourceInvalid, "classifier.weight"),
        ({"id2label": {"0": "a"}}, SourceInvalid, "classifier.weight"),
        ({"problem_type": "ranking"}, SourceUnsupported, "problem_type"),
        ({"architectures": ["BertForMultipleChoice"]}, SourceUnsupported, "architectures"),
        ({"hidden_act": "silu"}, SourceUnsupported, "architectures"),
    ],
)
def test_what_is_no_classifier_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], field: str
):
    checkpoint = write_classifier(tmp_path / "checkpoint", None, **changes)
    with pytest.raises(error) as caught:
        import_into(tmp_path, checkpoint)
    assert getattr(caught.value, "field", None) == field
    assert LocalStore(tmp_path / "models").list_models() == []
