from pathlib import Path

import pytest
from tests.unit.training.conftest import mill_rows, write_rows

from headrace.errors import DataMissing
from headrace.training.data import DataFiles


def test_a_training_is_known_by_the_content_of_its_files(tmp_path: Path):
    first = write_rows(tmp_path / "a.jsonl", mill_rows(4))
    same = write_rows(tmp_path / "b.jsonl", mill_rows(4))
    other = write_rows(tmp_path / "c.jsonl", mill_rows(5))
    digest = DataFiles(train=first, measure=None, columns={}).digests()
    assert digest["eval"] is None
    assert DataFiles(train=same, measure=None, columns={}).digests() == digest
    both = DataFiles(train=first, measure=other, columns={}).digests()
    assert both["data"] == digest["data"] != both["eval"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"gone\.jsonl"):
        DataFiles(train=tmp_path / "gone.jsonl", measure=None, columns={}).digests()
