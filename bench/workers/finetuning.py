"""What a worker that fine-tunes with transformers' Trainer does whatever it trains: read what is asked, and answer.

Standard input has a JSON object: ``checkpoint``, ``train`` and ``asked`` (files of JSON Lines), ``epochs``, ``seed``,
``window``. Standard output gets one: ``train_s``, and ``found``, what the model says of each row that is asked about.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments

Rows = dict[str, list[dict[str, Any]]]
"""Those to learn from (``train``), and those that are asked about (``asked``)."""


def answer(finetune: Callable[[dict[str, Any], Rows, str], dict[str, Any]]) -> None:
    """Train, measure and tell."""
    asked = json.load(sys.stdin)
    rows = {
        name: [json.loads(line) for line in Path(asked[name]).read_text(encoding="utf-8").splitlines()]
        for name in ("train", "asked")
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        told = finetune(asked, rows, folder)
    print(json.dumps(told))


def fit(model: Any, asked: dict[str, Any], data: Rows, collator: Any, folder: str) -> tuple[float, Any]:
    """Train with the Trainer's defaults; returns the seconds, and the scores of the rows that are asked about."""
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder, num_train_epochs=asked["epochs"], seed=asked["seed"], report_to="none"
        ),
        train_dataset=data["train"],  # a list is one, as documented
        data_collator=collator,
    )
    trained = trainer.train()
    found: Any = trainer.predict(data["asked"])  # type: ignore[arg-type]  # as above
    return trained.metrics["train_runtime"], found.predictions
