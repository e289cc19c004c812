"""Reads sentences of tagged words: one word a line, its tag at the end, an empty line between sentences.

The format of the CoNLL shared tasks (https://aclanthology.org/W03-0419/): columns are separated by spaces or tabs, the
word is the first of them and its tag the last. A line ``-DOCSTART-`` begins a document and is no word.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.errors import DataInvalid
from headrace.training.tables import Row, Table, reading

SUFFIXES: Final = frozenset({".conll", ".bio", ".iob", ".txt"})
WORDS: Final = "tokens"
TAGS: Final = "tags"
_DOCUMENT: Final = "-DOCSTART-"


def read_conll(path: Path) -> Table:
    """Read a file of tagged words as a table with the columns ``tokens`` and ``tags``, a row for each sentence.

    Raises:
        DataMissing: There is no such file, or it may not be read.
        DataInvalid: A line has a word and no tag, or the file holds no words.
    """
    try:
        with reading(path):
            lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines, which splits at U+2028 too
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{path.name} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    rows = tuple(_sentences(path, lines))
    if not rows:
        raise DataInvalid(f"{path.name!r} has no words; write one on each line, and its tag behind it")
    return Table(path, (WORDS, TAGS), rows)


def _sentences(path: Path, lines: list[str]) -> Iterator[Row]:
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        cells = line.split()
        if cells and cells[0] != _DOCUMENT:
            if len(cells) == 1:
                raise DataInvalid(
                    f"{path.name}, line {number}: the word {cells[0][:40]!r} has no tag; write O for none"
                )
            words.append(cells[0])
            tags.append(cells[-1])
        elif words:
            yield Row(number - len(words), {WORDS: tuple(words), TAGS: tuple(tags)})
            words, tags = [], []
