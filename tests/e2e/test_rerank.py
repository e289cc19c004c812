"""A cross-encoder from a checkpoint to the answers of the service, beside sentence-transformers."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import onnx
import pytest
import transformers
from tests.support.headed import import_into, rest_client, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.api.responses import RerankResponse
from headrace.errors import SourceUnsupported
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore

QUERY: Final = "Where does the wheel get its water?"
TEXTS: Final = (*CORPUS[:7], "", "the mill", "water " * 60)
ONE: Final = {0: "LABEL_0"}
IDENTITY: Final = "torch.nn.modules.linear.Identity"
HEADS: Final[Mapping[str, tuple[type[transformers.PreTrainedModel], str, dict[str, Any]]]] = {
    "bert": (transformers.BertForSequenceClassification, "wordpiece", {}),
    "identity": (
        transformers.BertForSequenceClassification,
        "wordpiece",
        {"sentence_transformers": {"activation_fn": IDENTITY}},
    ),
    "old": (
        transformers.BertForSequenceClassification,
        "wordpiece",
        {"sbert_ce_default_activation_function": IDENTITY},
    ),
}


def write_reranker(folder: Path, kind: str) -> Path:
    head, tokenizer, config = HEADS[kind]
    return write_headed(folder, head, ONE, tokenizer=TRAIN[tokenizer](), seed=1, **config)


def original(checkpoint: Path) -> list[dict[str, Any]]:
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - some seconds

    with quiet_libraries():
        model = CrossEncoder(str(checkpoint), device="cpu", local_files_only=True)
        return cast("list[dict[str, Any]]", model.rank(QUERY, list(TEXTS)))


async def rank(home: Path, **options: Any) -> Any:
    async with rest_client(home) as client:
        body = {"query": QUERY, "inputs": list(TEXTS), "options": options}
        return (await client.post("/api/v1/rerank", json=body)).json()


@pytest.mark.parametrize("kind", HEADS)
async def test_rankings_are_those_of_sentence_transformers(tmp_path: Path, kind: str):
    checkpoint = write_reranker(tmp_path / "checkpoint", kind)
    await asyncio.to_thread(import_into, tmp_path, checkpoint)
    answer, expected = await rank(tmp_path), await asyncio.to_thread(original, checkpoint)
    RerankResponse.model_validate(answer)
    assert [each["index"] for each in answer["results"]] == [each["corpus_id"] for each in expected]
    scores = [each["score"] for each in answer["results"]]
    assert scores == pytest.approx([float(each["score"]) for each in expected], abs=1e-5)
    assert max(scores) - min(scores) > 0.01  # else any order would do
    assert {each["index"]: each["truncated"] for each in answer["results"]}[9] is True
    manifest = LocalStore(tmp_path / "models").open("mills").manifest
    assert (manifest.task, manifest.function) == ("rerank", "sigmoid" if kind == "bert" else "identity")
    assert [tensor.name for tensor in manifest.inputs] == ["input_ids", "attention_mask", "token_type_ids"]


async def test_as_many_are_told_as_were_asked_for_and_scores_as_they_are(tmp_path: Path):
    await asyncio.to_thread(import_into, tmp_path, write_reranker(tmp_path / "checkpoint", "bert"))
    whole, best, raw = await rank(tmp_path), await rank(tmp_path, top_k=2), await rank(tmp_path, raw=True)
    assert best["results"] == whole["results"][:2]
    assert best["usage"]["tokens"] == whole["usage"]["tokens"]
    assert [each["index"] for each in raw["results"]] == [each["index"] for each in whole["results"]]
    chunked = {each["index"]: each for each in (await rank(tmp_path, truncate="chunk"))["results"]}
    assert chunked[9]["windows"] > 1
    refused = [await rank(tmp_path, **bad) for bad in ({"top_k": 0}, {"threshold": 1}, {"truncate": "error"})]
    assert [each["field"] for each in refused[:2]] == ["options.top_k", "options.threshold"]
    assert refused[2]["code"] == "input.too_long"


def test_what_sentence_transformers_saves_is_imported_too(tmp_path: Path):
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - some seconds

    checkpoint = write_reranker(tmp_path / "checkpoint", "bert")
    with quiet_libraries():
        CrossEncoder(str(checkpoint), device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    import_into(tmp_path, tmp_path / "saved")
    assert LocalStore(tmp_path / "models").open("mills").manifest.task == "rerank"


async def test_a_graph_alone_answers_as_the_checkpoint_with_weights(tmp_path: Path):
    checkpoint = write_reranker(tmp_path / "checkpoint", "bert")
    await asyncio.to_thread(import_into, tmp_path, checkpoint)
    expected = await rank(tmp_path)
    (checkpoint / "onnx").mkdir()
    shutil.copy(LocalStore(tmp_path / "models").open("mills").path / "model.onnx", checkpoint / "onnx/model.onnx")
    (checkpoint / "model.safetensors").unlink()
    assert len(onnx.load(checkpoint / "onnx/model.onnx").graph.input) == 3
    await asyncio.to_thread(import_into, tmp_path / "other", checkpoint)
    found = await rank(tmp_path / "other")
    assert [each["index"] for each in found["results"]] == [each["index"] for each in expected["results"]]


def test_the_command_ranks_the_lines_of_a_file(tmp_path: Path):
    import_into(tmp_path, write_reranker(tmp_path / "checkpoint", "bert"))
    arguments = ["rerank", "--query", QUERY, "--top-k", "3", "--home", str(tmp_path), "--limits-max-inputs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments, "--engine-isolation", "process"],
        input="\n".join(CORPUS[:7]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    whole = asyncio.run(rank(tmp_path))
    best = [each["index"] for each in whole["results"] if each["index"] < 7][:3]
    assert [line["index"] for line in lines] == best


@pytest.mark.parametrize(
    ("config", "labels", "field"),
    [
        ({"sentence_transformers": {"activation_fn": "my.Activation"}}, ONE, "activation_fn"),
        ({"problem_type": "multi_label_classification"}, ONE, "problem_type"),
    ],
)
def test_what_is_no_ranking_is_refused_by_name(tmp_path: Path, config: Any, labels: Any, field: str):
    head = transformers.BertForSequenceClassification
    checkpoint = write_headed(tmp_path / "checkpoint", head, labels, tokenizer=TRAIN["wordpiece"](), **config)
    with pytest.raises(SourceUnsupported) as caught:
        import_into(tmp_path, checkpoint)
    assert caught.value.field == field
