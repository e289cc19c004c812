"""Fine-tunes a classifier with transformers' Trainer as it comes: python -m bench.workers.trainer_finetune.

Reads a JSON object from standard input (``checkpoint``, ``train``, ``asked``, ``epochs``, ``seed``, ``window``) and
writes one (``train_s``, ``accuracy``) to standard output.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    """Train, measure and tell."""
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        told = finetune(asked, folder)
    print(json.dumps(told))


def finetune(asked: dict[str, Any], folder: str) -> dict[str, float]:
    """Train with the Trainer's defaults, and measure on the rows that were not learned from."""
    rows = {
        name: [json.loads(line) for line in Path(asked[name]).read_text(encoding="utf-8").splitlines()]
        for name in ("train", "asked")
    }
    labels = sorted({row["label"] for row in rows["train"]})
    tokenizer = AutoTokenizer.from_pretrained(asked["checkpoint"])

    def encode(row: dict[str, str]) -> dict[str, Any]:
        return {
            **tokenizer(row["text"], truncation=True, padding=False, max_length=asked["window"]),
            "labels": labels.index(row["label"]),
        }

    data = {name: [encode(row) for row in of_name] for name, of_name in rows.items()}
    model = AutoModelForSequenceClassification.from_pretrained(asked["checkpoint"], num_labels=len(labels))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder, num_train_epochs=asked["epochs"], seed=asked["seed"], report_to="none"
        ),
        train_dataset=data["train"],
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trained = trainer.train()
    found: Any = trainer.predict(data["asked"])  # type: ignore[arg-type]  # a list is one, as documented
    return {
        "train_s": trained.metrics["train_runtime"],
        "accuracy": float(np.mean(found.predictions.argmax(axis=1) == found.label_ids)),
    }


if __name__ == "__main__":
    main()
