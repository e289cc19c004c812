"""Fine-tunes a tagger with transformers' Trainer: python -m bench.workers.trainer_tagger.

The numbers are those of the example for token classification (``examples/pytorch/token-classification/run_ner.py``):
the Trainer's defaults, which are 3 epochs of 8 rows with a learning rate of 5e-5 that falls to 0, and a label for the
first token of each word only.

Reads a JSON object from standard input (``checkpoint``, ``train``, ``asked``, ``epochs``, ``seed``, ``window``) and
writes one (``train_s``, ``tags`` of each row) to standard output.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

_NO_LABEL = -100
_EPOCHS = 3


def main() -> None:
    """Train, predict and tell."""
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        told = finetune(asked, folder)
    print(json.dumps(told))


def finetune(asked: dict[str, Any], folder: str) -> dict[str, Any]:
    """Train with the example's numbers, and tag the rows that were not learned from."""
    rows = {
        name: [json.loads(line) for line in Path(asked[name]).read_text(encoding="utf-8").splitlines()]
        for name in ("train", "asked")
    }
    names = sorted({tag for row in rows["train"] for tag in row["tags"]})
    tokenizer = AutoTokenizer.from_pretrained(asked["checkpoint"])

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        encoding = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=asked["window"])
        labels, before = [], None
        for word in encoding.word_ids():
            is_first = word is not None and word != before
            labels.append(names.index(row["tags"][word]) if is_first and row["tags"][word] in names else _NO_LABEL)
            before = word
        return {**encoding, "labels": labels}

    data = {name: [encode(row) for row in of_name] for name, of_name in rows.items()}
    model = AutoModelForTokenClassification.from_pretrained(asked["checkpoint"], num_labels=len(names))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder,
            num_train_epochs=asked["epochs"] or _EPOCHS,
            seed=asked["seed"],
            report_to="none",
        ),
        train_dataset=data["train"],
        data_collator=DataCollatorForTokenClassification(tokenizer),
    )
    trained = trainer.train()
    found: Any = trainer.predict(data["asked"])  # type: ignore[arg-type]  # a list is one, as documented
    return {
        "train_s": trained.metrics["train_runtime"],
        "tags": [
            _tags_of(tokenizer, row["tokens"], best, names, asked["window"])
            for row, best in zip(rows["asked"], found.predictions.argmax(axis=2), strict=True)
        ],
    }


def _tags_of(tokenizer: Any, words: list[str], best: Any, names: list[str], window: int) -> list[str]:
    """Return the tag of each word's first token; O for a word that was cut off."""
    tags: dict[int, str] = {}
    encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=window)
    for place, word in enumerate(encoding.word_ids()):
        if word is not None:
            tags.setdefault(word, names[best[place]])
    return [tags.get(word, "O") for word in range(len(words))]


if __name__ == "__main__":
    main()
