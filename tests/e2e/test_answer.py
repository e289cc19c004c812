"""A model that answers questions from a checkpoint to the answers of the service, beside PyTorch."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
import transformers
from tests.support.headed import WINDOW, import_into, rest_client, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.api.responses import AnswerResponse
from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore

QUERY: Final = "What drives the mill?"
SCRIPTS: Final = (
    "👩🏾\u200d🚀 the wheel 🎉 drives",
    "e\u0301 a\u030a Mu\u0308hle, größere Räder",
    "الماء يدير العجلة في النهر",
    "גלגל המים מסתובב",
)
TEXTS: Final = (*CORPUS[:7], *SCRIPTS, "", "the mill", "water " * 60)
HEAD: Final = transformers.BertForQuestionAnswering
HEADS: Final = {0: "LABEL_0", 1: "LABEL_1"}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for kind, train in TRAIN.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        checkpoint = write_headed(
            found[kind] / "checkpoint", HEAD, HEADS, tokenizer=train(), seed=5, initializer_range=0.5
        )
        import_into(found[kind], checkpoint)
    return found


async def answer(home: Path, *texts: str, query: str = QUERY, **options: Any) -> Any:
    async with rest_client(home) as client:
        body = {"query": query, "inputs": texts or TEXTS, "options": options}
        return (await client.post("/api/v1/answer", json=body)).json()


@dataclass(frozen=True)
class Expected:
    """What the question-answering pipeline of transformers 4 would say, worked out pair by pair."""

    text: str
    score: float
    no_answer: float


def original(checkpoint: Path, texts: tuple[str, ...], most: int) -> list[Expected]:
    with quiet_libraries():
        tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        model = HEAD.from_pretrained(checkpoint).eval()
    return [_best(tokenizer, model, text, most) for text in texts]


def _best(tokenizer: Any, model: Any, text: str, most: int) -> Expected:
    tokens = tokenizer(QUERY, text, truncation=True, max_length=WINDOW, return_tensors="pt")
    with torch.inference_mode():
        out = model(**tokens)
    sequence = tokens.sequence_ids(0)
    own = [place for place, of in enumerate(sequence) if of == 1]
    shares = []
    for logits in (out.start_logits[0].double().numpy(), out.end_logits[0].double().numpy()):
        powers = np.exp(logits)
        shares.append(powers / powers[[0, *own]].sum())
    starts, ends = shares
    pairs = [(starts[i] * ends[j], i, j) for i in own for j in own if i <= j < i + most]
    if not pairs:
        return Expected("", 0.0, 1.0)
    score, first, last = max(pairs)
    begin = tokens.word_to_chars(0, tokens.token_to_word(0, first), 1).start
    end = tokens.word_to_chars(0, tokens.token_to_word(0, last), 1).end
    return Expected(text[begin:end].strip(), float(score), float(starts[0] * ends[0]))


@pytest.mark.parametrize("kind", TRAIN)
@pytest.mark.parametrize("most", [1, 4, 15])
async def test_answers_are_those_of_the_model(homes: dict[str, Path], kind: str, most: int):
    found = await answer(homes[kind], max_answer_tokens=most)
    AnswerResponse.model_validate(found)
    expected = await asyncio.to_thread(original, homes[kind] / "checkpoint", TEXTS, most)
    for text, result, wanted in zip(TEXTS, found["results"], expected, strict=True):
        nothing: dict[str, Any] = {"text": "", "score": 0.0, "start": 0, "end": 0}
        best = result["answers"][0] if result["answers"] else nothing
        assert best["text"] == wanted.text
        if wanted.text:  # a tokenizer may make a token of nothing, which is no answer
            assert best["score"] == pytest.approx(wanted.score, abs=1e-5)
        assert result["no_answer"] == pytest.approx(wanted.no_answer, abs=1e-5)
        assert best["text"] == text[best["start"] : best["end"]]
    assert len({each["answers"][0]["text"] for each in found["results"] if each["answers"]}) > 5


@pytest.mark.parametrize("kind", TRAIN)
async def test_a_long_text_is_read_whole_if_that_is_asked_for(homes: dict[str, Path], kind: str):
    text = " ".join(CORPUS[:7] * 3)
    cut = (await answer(homes[kind], text, top_k=100))["results"][0]
    whole = (await answer(homes[kind], text, top_k=100, truncate="chunk"))["results"][0]
    assert (cut["windows"], cut["truncated"], whole["truncated"]) == (1, True, False)
    assert whole["windows"] > 2
    assert max(each["end"] for each in whole["answers"]) > 1.5 * max(each["end"] for each in cut["answers"])
    assert all(each["text"] == text[each["start"] : each["end"]] for each in whole["answers"])
    assert len({(each["start"], each["end"]) for each in whole["answers"]}) == len(whole["answers"])


async def test_what_may_be_chosen(homes: dict[str, Path]):
    home = homes["wordpiece"]
    many = (await answer(home, CORPUS[0], top_k=5))["results"][0]["answers"]
    assert len(many) == 5
    assert [each["score"] for each in many] == sorted((each["score"] for each in many), reverse=True)
    sure = (await answer(home, CORPUS[0], top_k=5, threshold=many[1]["score"]))["results"][0]["answers"]
    assert sure == many[:2]
    bad = ({"top_k": 0}, {"top_k": 101}, {"max_answer_tokens": 0}, {"max_answer_tokens": 129}, {"raw": True})
    refused = [await answer(home, "a", **options) for options in bad]
    assert [each["field"] for each in refused] == [f"options.{next(iter(options))}" for options in bad]
    too_long = await answer(home, "a", "water " * 60, truncate="error")
    assert (too_long["code"], too_long["field"]) == ("input.too_long", "inputs[1]")


async def test_the_model_says_what_it_is(homes: dict[str, Path]):
    manifest = LocalStore(homes["wordpiece"] / "models").open("mills").manifest
    assert (manifest.task, manifest.labels, manifest.dimensions, manifest.words) == ("answer", (), 2, "tokenizer")
    assert [tensor.name for tensor in manifest.inputs] == ["input_ids", "attention_mask", "token_type_ids"]


def test_the_command_answers_from_the_lines_of_a_file(homes: dict[str, Path]):
    arguments = ["answer", "--query", QUERY, "--top-k", "2", "--home", str(homes["wordpiece"])]
    result = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        input="\n".join(CORPUS[:5]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    expected = asyncio.run(answer(homes["wordpiece"], *CORPUS[:5], top_k=2))["results"]
    assert [[each["text"] for each in line["answers"]] for line in lines] == [
        [each["text"] for each in wanted["answers"]] for wanted in expected
    ]


def test_a_head_of_another_width_is_refused(tmp_path: Path):
    checkpoint = write_headed(tmp_path / "checkpoint", HEAD, {0: "a", 1: "b", 2: "c"}, tokenizer=TRAIN["wordpiece"]())
    with pytest.raises(SourceInvalid, match="qa_outputs"):
        import_into(tmp_path, checkpoint)


def test_a_shipped_graph_is_refused_for_now(tmp_path: Path, homes: dict[str, Path]):
    checkpoint = write_headed(tmp_path / "checkpoint", HEAD, HEADS, tokenizer=TRAIN["wordpiece"]())
    (checkpoint / "model.safetensors").unlink()
    graph = LocalStore(homes["wordpiece"] / "models").open("mills").path / "model.onnx"
    (checkpoint / "model.onnx").write_bytes(graph.read_bytes())
    with pytest.raises(SourceUnsupported) as caught:
        import_into(tmp_path, checkpoint)
    assert caught.value.field == "architectures"
