from pathlib import Path

import pytest

from headrace.errors import DataInvalid, DataMissing
from headrace.training.conll import read_conll

CONTENT = "-DOCSTART- -X- O\n\nPeter NNP B-PER\nlives VBZ O\n\nin O\nParis\tB-LOC"


def test_sentences_are_rows_with_the_line_of_their_first_word(tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text(CONTENT, encoding="utf-8")
    table = read_conll(path)
    assert [(row.line, row.values["tokens"], row.values["tags"]) for row in table.rows] == [
        (3, ("Peter", "lives"), ("B-PER", "O")),
        (6, ("in", "Paris"), ("O", "B-LOC")),
    ]


def test_only_a_line_break_ends_a_line(tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text("one\N{LINE SEPARATOR} B-X\n", encoding="utf-8")
    assert read_conll(path).rows[0].line == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Peter B-PER\nlives\n", "line 2: the word 'lives' has no tag"),
        (b"\n\n", "no words"),
        (b"\xff O\n", "not UTF-8"),
    ],
)
def test_what_is_no_tagged_text_is_refused(tmp_path: Path, content: bytes, told: str):
    path = tmp_path / "a.conll"
    path.write_bytes(content)
    with pytest.raises(DataInvalid, match=told):
        read_conll(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"gone\.conll"):
        read_conll(tmp_path / "gone.conll")
