"""A regression from a checkpoint to the answers of the service, beside transformers."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.e2e.test_classify import write_classifier
from tests.support.headed import TEXTS, ask, import_into

from headrace.errors import SourceUnsupported
from headrace.export.quiet import quiet_libraries
from headrace.models.store import LocalStore
from headrace.types import Regression

RATING = {0: "LABEL_0"}


def original(checkpoint: Path, texts: tuple[str, ...]) -> list[float]:
    with quiet_libraries(), torch.inference_mode():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        rows = [tokenizer(text, truncation=True, max_length=40, return_tensors="pt") for text in texts]
        return [float(model(row["input_ids"]).logits[0, 0]) for row in rows]


async def test_numbers_are_those_of_transformers(tmp_path: Path):
    checkpoint = write_classifier(tmp_path / "checkpoint", "regression", labels=RATING)
    await asyncio.to_thread(import_into, tmp_path, checkpoint)
    results = (await ask(tmp_path, TEXTS, "regress")).results
    assert all(isinstance(result, Regression) for result in results)
    values = [result.value for result in results if isinstance(result, Regression)]
    assert values == pytest.approx(original(checkpoint, TEXTS), abs=1e-5)
    manifest = LocalStore(tmp_path / "models").open("mills").manifest
    assert (manifest.task, manifest.labels, manifest.function, manifest.dimensions) == ("regress", (), None, 1)


def test_the_command_prints_numbers_line_by_line(tmp_path: Path):
    import_into(tmp_path, write_classifier(tmp_path / "checkpoint", "regression", labels=RATING))
    arguments = ["regress", "--home", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments], input="the\nwheel\n", capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(line) for line in lines] == [{"index", "value", "tokens", "truncated", "windows"}] * 2


@pytest.mark.parametrize(
    ("problem", "labels", "field"),
    [("regression", {0: "LABEL_0", 1: "LABEL_1"}, "id2label"), ("multi_label_classification", RATING, "problem_type")],
)
def test_what_is_no_regression_to_one_number_is_refused(tmp_path: Path, problem: Any, labels: Any, field: str):
    checkpoint = write_classifier(tmp_path / "checkpoint", problem, labels=labels)
    with pytest.raises(SourceUnsupported) as caught:
        import_into(tmp_path, checkpoint)
    assert caught.value.field == field
