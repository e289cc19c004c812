"""A masked language model from a checkpoint to the answers of the service, beside transformers."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import transformers
from tests.support.headed import import_into, rest_client, write_headed
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.api.responses import FillResponse
from headrace.errors import ModelCorrupt
from headrace.export.quiet import quiet_libraries
from headrace.models.folder import open_folder
from headrace.models.store import LocalStore

LABELS: Final = {0: "LABEL_0", 1: "LABEL_1"}  # what every configuration of transformers has
HEAD: Final = transformers.BertForMaskedLM
MASKS: Final = {"wordpiece": "[MASK]", "byte_level": "<mask>", "unigram": "<mask>"}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for kind, train in TRAIN.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        import_into(found[kind], write_headed(found[kind] / "checkpoint", HEAD, LABELS, tokenizer=train(), seed=3))
    return found


def masked(kind: str) -> list[str]:
    """Return texts with a mask at the beginning, in the middle, at the end, alone, and with two."""
    mask = MASKS[kind]
    return [
        f"{mask} {CORPUS[0]}",
        f"The water drives the {mask}, and the wheel drives the mill.",
        f"größere Räder {mask}",
        mask,
        f"水は{mask}を回す。",
        f"the {mask} of the {mask}",
        f"{mask}{mask}",
        f"👨‍👩‍👧 the {mask} e\u0301",
    ]


def original(checkpoint: Path, texts: list[str]) -> list[list[list[dict[str, Any]]]]:
    """Return of each text and mask what transformers' pipeline finds."""
    with quiet_libraries():
        pipe: Any = transformers.pipeline("fill-mask", model=str(checkpoint), device="cpu", top_k=7)
        found = [pipe(text) for text in texts]
    return [one if isinstance(one[0], list) else [one] for one in found]


async def fill(home: Path, *texts: str, **options: Any) -> Any:
    async with rest_client(home) as client:
        return (await client.post("/api/v1/fill", json={"inputs": texts, "options": options})).json()


@pytest.mark.parametrize("kind", TRAIN)
async def test_words_are_those_of_transformers(homes: dict[str, Path], kind: str):
    texts = masked(kind)
    answer = await fill(homes[kind], *texts, top_k=7)
    FillResponse.model_validate(answer)
    expected = await asyncio.to_thread(original, homes[kind] / "checkpoint", texts)
    for text, found, wanted in zip(texts, answer["results"], expected, strict=True):
        assert len(found["masks"]) == len(wanted)
        for mask, words in zip(found["masks"], wanted, strict=True):
            assert text[mask["start"] : mask["end"]].strip() == MASKS[kind]
            assert [word["text"] for word in mask["words"]] == [word["token_str"] for word in words]
            assert [word["score"] for word in mask["words"]] == pytest.approx(
                [word["score"] for word in words], abs=1e-5
            )
    assert len({one["masks"][0]["words"][0]["text"] for one in answer["results"]}) > 1  # else any words would do


async def test_the_model_says_what_it_is(homes: dict[str, Path]):
    manifest = LocalStore(homes["byte_level"] / "models").open("mills").manifest
    assert (manifest.task, manifest.mask, manifest.gate.passed) == ("fill", "<mask>", True)
    assert [tensor.name for tensor in manifest.outputs] == ["token_states"]
    assert "head.npz" in manifest.files
    async with rest_client(homes["byte_level"]) as client:
        assert (await client.get("/api/v1/models/mills")).json()["mask"] == "<mask>"


async def test_a_long_text_is_read_where_it_has_masks_if_that_is_asked_for(homes: dict[str, Path]):
    home = homes["wordpiece"]
    text = " ".join(CORPUS[:4] * 3)
    late = f"{text} the [MASK]"
    cut = await fill(home, "a [MASK]", late)
    assert (cut["code"], cut["field"]) == ("request.invalid", "inputs[1]")
    assert "in the part of it that was read" in cut["detail"]
    (whole,) = (await fill(home, late, truncate="chunk"))["results"]
    assert (whole["windows"], whole["truncated"]) == (1, False)  # those without a mask are left out
    assert late[whole["masks"][0]["start"] :] == "[MASK]"
    (apart,) = (await fill(home, f"[MASK] {late}", truncate="chunk"))["results"]
    assert (len(apart["masks"]), apart["windows"]) == (2, 2)
    refused = await fill(home, late, truncate="error")
    assert (refused["code"], refused["field"]) == ("input.too_long", "inputs[0]")


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"inputs": ["the [MASK]", "the mill"]}, "inputs[1]", 422),
        ({"inputs": [""]}, "inputs[0]", 422),
        ({"inputs": ["<mask> [MASK ] [mask]"]}, "inputs[0]", 422),
        ({"inputs": ["[MASK]"], "options": {"top_k": 65}}, "options.top_k", 422),
        ({"inputs": ["[MASK]"], "options": {"labels": []}}, "options.labels", 422),
    ],
)
async def test_what_cannot_be_filled_is_refused_by_name(
    homes: dict[str, Path], body: dict[str, Any], field: str, status: int
):
    async with rest_client(homes["wordpiece"]) as client:
        refused = await client.post("/api/v1/fill", json=body)
        assert (refused.status_code, refused.json()["field"]) == (status, field)
        fine = await client.post("/api/v1/fill", json={"inputs": ["the [MASK]"]})
        assert (fine.status_code, len(fine.json()["results"][0]["masks"][0]["words"])) == (200, 5)


async def test_a_text_has_at_most_so_many_masks(homes: dict[str, Path]):
    (full,) = (await fill(homes["wordpiece"], "[MASK] " * 16, top_k=64))["results"]
    assert [len(mask["words"]) for mask in full["masks"]] == [64] * 16
    for truncate in ("truncate", "chunk"):
        refused = await fill(homes["wordpiece"], "the [MASK]", "[MASK] " * 17, truncate=truncate)
        assert (refused["code"], refused["field"]) == ("request.invalid", "inputs[1]")
        assert "has 17 masks" in refused["detail"]


async def test_a_neighbour_changes_nothing_and_a_text_is_remembered(homes: dict[str, Path]):
    texts = masked("wordpiece")
    alone = [(await fill(homes["wordpiece"], text))["results"][0] for text in texts]
    async with rest_client(homes["wordpiece"]) as client:
        for cached in (0, len(texts)):
            together = (await client.post("/api/v1/fill", json={"inputs": texts})).json()
            assert together["usage"]["cached"] == cached
            for found, wanted in zip(together["results"], alone, strict=True):
                for one, other in zip(found["masks"], wanted["masks"], strict=True):
                    assert [each["text"] for each in one["words"]] == [each["text"] for each in other["words"]]
                    assert [each["score"] for each in one["words"]] == pytest.approx(
                        [each["score"] for each in other["words"]], abs=1e-6
                    )


def test_a_model_without_its_head_is_told(homes: dict[str, Path], tmp_path: Path):
    shutil.copytree(homes["unigram"] / "models", tmp_path / "models")
    folder = LocalStore(tmp_path / "models").open("mills").path
    (folder / "head.npz").unlink()
    with pytest.raises(ModelCorrupt, match=r"head\.npz is missing"):
        open_folder(folder)


def test_the_command_fills_the_lines_of_a_file(homes: dict[str, Path]):
    texts = masked("wordpiece")
    result = subprocess.run(
        [sys.executable, "-m", "headrace", "fill", "--top-k", "2", "--home", str(homes["wordpiece"])],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    expected = asyncio.run(fill(homes["wordpiece"], *texts, top_k=2))["results"]
    assert [line["index"] for line in lines] == list(range(len(texts)))
    assert [[mask["words"][0]["text"] for mask in line["masks"]] for line in lines] == [
        [mask["words"][0]["text"] for mask in one["masks"]] for one in expected
    ]
