"""Fine-tunes a tagger with transformers' Trainer: python -m bench.workers.trainer_tagger.

The numbers are those of the example for token classification (``examples/pytorch/token-classification/run_ner.py``):
the Trainer's defaults, which are 3 epochs of 8 rows with a learning rate of 5e-5 that falls to 0, and a label for the
first token of each word only.
"""

from typing import Any

from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from bench.workers.finetuning import Rows, answer, fit

_NO_LABEL = -100


def finetune(asked: dict[str, Any], rows: Rows, folder: str) -> dict[str, Any]:
    """Train with the example's numbers, and tag the rows that were not learned from."""
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
    train_s, scores = fit(model, asked, data, DataCollatorForTokenClassification(tokenizer), folder)
    found = [
        _tags_of(tokenizer, row["tokens"], best, names, asked["window"])
        for row, best in zip(rows["asked"], scores.argmax(axis=2), strict=True)
    ]
    return {"train_s": train_s, "found": found}


def _tags_of(tokenizer: Any, words: list[str], best: Any, names: list[str], window: int) -> list[str]:
    """Return the tag of each word's first token; O for a word that was cut off."""
    tags: dict[int, str] = {}
    encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=window)
    for place, word in enumerate(encoding.word_ids()):
        if word is not None:
            tags.setdefault(word, names[best[place]])
    return [tags.get(word, "O") for word in range(len(words))]


if __name__ == "__main__":
    answer(finetune)
