"""Fine-tunes a classifier with transformers' Trainer as it comes: python -m bench.workers.trainer_finetune."""

from typing import Any

from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from bench.workers.finetuning import Rows, answer, fit


def finetune(asked: dict[str, Any], rows: Rows, folder: str) -> dict[str, Any]:
    """Train with the Trainer's defaults, and label the rows that were not learned from."""
    labels = sorted({row["label"] for row in rows["train"]})
    tokenizer = AutoTokenizer.from_pretrained(asked["checkpoint"])

    def encode(row: dict[str, str]) -> dict[str, Any]:
        return {
            **tokenizer(row["text"], truncation=True, padding=False, max_length=asked["window"]),
            "labels": labels.index(row["label"]),
        }

    data = {name: [encode(row) for row in of_name] for name, of_name in rows.items()}
    model = AutoModelForSequenceClassification.from_pretrained(asked["checkpoint"], num_labels=len(labels))
    train_s, scores = fit(model, asked, data, DataCollatorWithPadding(tokenizer), folder)
    return {"train_s": train_s, "found": [labels[best] for best in scores.argmax(axis=1)]}


if __name__ == "__main__":
    answer(finetune)
