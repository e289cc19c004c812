from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from headrace.errors import DataInvalid, DataMissing
from headrace.training.tables import Row, read_table


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_know_the_line_in_which_they_begin(tmp_path: Path):
    table = read_table(write(tmp_path, "a.csv", 'text,label\n"one\ntwo",x\n\nthree,y\n'))
    assert table.columns == ("text", "label")
    assert table.rows == (Row(2, {"text": "one\ntwo", "label": "x"}), Row(5, {"text": "three", "label": "y"}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\ufefftext,label\nmill,wet\n"),
        ("a.tsv", "text\tlabel\r\nmill\twet\r\n"),
        ("a.jsonl", '{"text": "mill", "label": "wet"}\n\n'),
        ("A.NDJSON", '\ufeff{"text": "mill", "label": "wet"}'),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, content: str):
    (row,) = read_table(write(tmp_path, name, content)).rows
    assert row.values == {"text": "mill", "label": "wet"}


def test_parquet_is_read(tmp_path: Path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["mill", "race"], "label": [1, 2]}), path)
    assert read_table(path).rows == (Row(1, {"text": "mill", "label": 1}), Row(2, {"text": "race", "label": 2}))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "text,label\nmill,wet\nrace\n", "a.csv, line 3: 1 cells where the first line names 2"),
        ("a.csv", 'text,label\n"mill,wet\nrace,dry\n', "a.csv, line 2: no row of a table"),
        ("a.csv", 'text,label\n"mill"x,wet\n', "a.csv, line 2: no row of a table"),
        ("a.csv", "text,text\nmill,wet\n", "line 1: two columns have the name 'text'"),
        ("a.csv", "", "empty"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", b"text,label\nm\xe9ll,wet\n", "not UTF-8 at line"),
        ("a.jsonl", '{"text": "mill"}\n{"text": \n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '["mill"]\n', "a.jsonl, line 1: no object"),
        ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl, line 1: not JSON"),
        ("a.parquet", "no parquet", "no Parquet file"),
        ("a.xlsx", "sheet", "use .csv, .tsv, .jsonl"),
    ],
)
def test_a_broken_file_is_refused_where_it_is_broken(tmp_path: Path, name: str, content: str | bytes, told: str):
    with pytest.raises(DataInvalid, match=told.replace(".", r"\.")):
        read_table(write(tmp_path, name, content))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"gone\.csv"):
        read_table(tmp_path / "gone.csv")
