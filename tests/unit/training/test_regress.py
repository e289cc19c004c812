from pathlib import Path

import pytest
import torch
from tests.unit.training.conftest import Watching, mill_rows, model_of, write_rows

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint
from headrace.training import regress
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.regress import Config
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def files(path: Path) -> DataFiles:
    return DataFiles(train=path, measure=None, columns={})


def test_it_learns_numbers_of_any_size(tmp_path: Path, base: Checkpoint):
    rows = [{"text": row["text"], "price": 250_000 + 90_000 * (row["label"] == "wet")} for row in mill_rows()]
    config = Config(epochs=10, rows=8, learning_rate=3e-3, holdout=0.2)
    split = regress.read(files(write_rows(tmp_path / "a.jsonl", rows)), config)
    outcome = regress.train(base, config, split, Run(tmp_path, {}, config, Watching()), CPU)
    assert outcome.metrics["r2"] > 0.9
    assert outcome.metrics["rmse"] < 15_000
    assert model_of(outcome).config.problem_type == "regression"


def test_the_numbers_are_told(tmp_path: Path):
    rows = [{"text": f"mill {number}", "score": str(number / 2)} for number in range(20)]
    split = regress.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config(holdout=0.1))
    assert split.findings[0] == "a.jsonl: 20 rows; text is 'text', value is 'score'"
    assert split.findings[1].startswith("numbers: 0 to 9.5, mean ")


@pytest.mark.parametrize("value", ["high", None, "nan", "inf", [1]])
def test_what_is_no_number_is_refused(tmp_path: Path, value: object):
    rows = [{"text": "mill", "score": 1}, {"text": "race", "score": value}]
    with pytest.raises(DataInvalid, match=r"a.jsonl, line 2: .* is no number"):
        regress.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())


def test_one_number_is_refused(tmp_path: Path):
    rows = [{"text": f"mill {number}", "score": 3} for number in range(20)]
    with pytest.raises(DataUnfit, match="every text has the number 3"):
        regress.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())
