import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.training.conftest import Watching, mill_rows, model_of, write_rows

from headrace.errors import DataInvalid, DataUnfit, TrainingStopped
from headrace.models.checkpoint import Checkpoint
from headrace.training import classify
from headrace.training.classify import Config
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.examples import Example
from headrace.training.outcome import Outcome
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)
NUMBERS: dict[str, Any] = {"epochs": 6, "rows": 8, "learning_rate": 3e-3, "holdout": 0.2}


def files(path: Path, measure: Path | None = None, **columns: str) -> DataFiles:
    return DataFiles(train=path, measure=measure, columns=columns)


def learn(
    folder: Path, base: Checkpoint, config: Config, rows: list[dict[str, Any]], *, stop_after: int | None = None
) -> Outcome:
    folder.mkdir(exist_ok=True)
    split = classify.read(files(write_rows(folder / "data.jsonl", rows)), config)
    run = Run(folder, {}, config, Watching(stop_after))
    run.decide("mills", resume=True)
    return classify.train(base, config, split, run, CPU)


def weights(outcome: Outcome) -> dict[str, torch.Tensor]:
    return dict(model_of(outcome).named_parameters())


def same(left: Outcome, right: Outcome) -> bool:
    return all(torch.equal(parameter, weights(right)[name]) for name, parameter in weights(left).items())


def test_it_learns(tmp_path: Path, base: Checkpoint):
    outcome = learn(tmp_path, base, Config(**NUMBERS), mill_rows())
    assert outcome.metrics == {"accuracy": 1.0, "macro_f1": 1.0}
    assert outcome.labels == ["dry", "wet"]
    assert model_of(outcome).config.id2label == {0: "dry", 1: "wet"}
    assert outcome.examples == (48, 12)
    assert outcome.confusion is not None
    assert outcome.confusion.tolist() == [[6, 0], [0, 6]]


def test_one_seed_gives_one_result(tmp_path: Path, base: Checkpoint):
    first = learn(tmp_path / "a", base, Config(**NUMBERS), mill_rows())
    again = learn(tmp_path / "b", base, Config(**NUMBERS), mill_rows())
    other = learn(tmp_path / "c", base, Config(**NUMBERS, seed=1), mill_rows())
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("stop_after", [3, 6, 20])
def test_an_interruption_changes_nothing(tmp_path: Path, base: Checkpoint, stop_after: int):
    whole = learn(tmp_path / "a", base, Config(**NUMBERS), mill_rows())
    with pytest.raises(TrainingStopped):
        learn(tmp_path / "b", base, Config(**NUMBERS), mill_rows(), stop_after=stop_after)
    assert same(whole, learn(tmp_path / "b", base, Config(**NUMBERS), mill_rows()))


def test_how_an_update_is_cut_into_batches_changes_nothing(tmp_path: Path, base: Checkpoint):
    numbers = {**NUMBERS, "epochs": 1, "optimizer": "sgd"}
    at_once = learn(tmp_path / "a", base, Config(**numbers, token_budget=4096), mill_rows())
    in_parts = learn(tmp_path / "b", base, Config(**numbers, token_budget=16), mill_rows())
    # dropout is drawn for each batch, so it is off: what is left is rounding
    for name, parameter in weights(at_once).items():
        assert torch.allclose(parameter, weights(in_parts)[name], atol=2e-2), name


def test_a_text_may_have_several_labels_or_none(tmp_path: Path, base: Checkpoint):
    rows = [
        {
            "text": f"{'water ' * (number % 2)}{'wheel ' * (number // 2 % 2)}the {chr(97 + number % 26)} {number}",
            "label": ["wet"] * (number % 2) + ["round"] * (number // 2 % 2),
        }
        for number in range(80)
    ]
    config = Config(**{**NUMBERS, "epochs": 12}, multi_label=True)
    outcome = learn(tmp_path, base, config, rows)
    assert outcome.metrics["micro_f1"] > 0.95
    assert model_of(outcome).config.problem_type == "multi_label_classification"
    assert outcome.confusion is None


def test_labels_in_a_cell_are_separated(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"mill {n},wet; round ;\n" for n in range(20)), encoding="utf-8")
    split = classify.read(files(path), Config(multi_label=True, separator=";"))
    assert split.train[0].target == ("round", "wet")


def test_rare_labels_weigh_more_if_asked():
    one: Example[tuple[str, ...]] = Example("a", ("x",), 1)
    other: Example[tuple[str, ...]] = Example("b", ("y",), 1)
    rows = [one, one, one, other]
    scores = torch.zeros(2, 2)
    plain = classify.make_loss(rows, ["x", "y"], Config(), torch.device("cpu"))
    balanced = classify.make_loss(rows, ["x", "y"], Config(class_weights="balanced"), torch.device("cpu"))
    assert plain(scores[:1], torch.tensor([0])) == plain(scores[:1], torch.tensor([1]))
    ratio = balanced(scores[:1], torch.tensor([1])) / balanced(scores[:1], torch.tensor([0]))
    assert ratio.item() == pytest.approx(3.0)


def test_the_rows_are_told(tmp_path: Path):
    split = classify.read(files(write_rows(tmp_path / "a.jsonl", mill_rows(20))), Config())
    assert split.findings == ("a.jsonl: 20 rows; text is 'text', label is 'label'", "labels: dry 9, wet 9")
    assert len(split.held_out) == 2


def test_what_is_measured_with_is_not_learned(tmp_path: Path):
    data = write_rows(tmp_path / "a.jsonl", mill_rows(20))
    split = classify.read(files(data, write_rows(tmp_path / "b.jsonl", mill_rows(6))), Config())
    assert (len(split.train), len(split.held_out)) == (14, 6)
    assert any("6 texts to learn from are to measure with, too" in finding for finding in split.findings)


def test_a_row_without_a_label_is_refused(tmp_path: Path):
    rows = [*mill_rows(4), {"text": "mill", "label": ""}]
    with pytest.raises(DataInvalid, match=r"a.jsonl, line 5: no label"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())
    with pytest.raises(DataInvalid, match=r"a.jsonl: line 5 has no text"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", [*mill_rows(4), {"label": "wet"}])), Config())


def test_a_label_for_every_text_is_refused(tmp_path: Path):
    rows = [{"text": f"mill {number}", "label": number} for number in range(20)]
    with pytest.raises(DataUnfit, match=r"18 texts have 18 labels, too many to learn any; .* or train regress"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config(holdout=0.1))


def test_a_label_that_could_not_be_imported_is_refused(tmp_path: Path):
    rows = [{"text": f"mill {number}", "label": "ab"[number % 2] * 300} for number in range(20)]
    with pytest.raises(DataUnfit, match="has 300 characters, and may have 256"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "mill", "label": ["wet", "round"]}, "a list of labels; train with --multi-label"),
        ({"text": "mill", "label": {"a": 1}}, "label is no text, but a dict"),
        ({"text": ["mill"], "label": "wet"}, "text is no text, but a list"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, row: dict[str, Any], told: str):
    with pytest.raises(DataInvalid, match=f"a.jsonl, line 5: {told}"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", [*mill_rows(4), row])), Config())


def test_one_label_is_refused(tmp_path: Path):
    rows = [{"text": f"mill {number}", "label": "wet"} for number in range(20)]
    with pytest.raises(DataUnfit, match="every text has the label 'wet'"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())


def test_no_label_at_all_is_refused(tmp_path: Path):
    rows = [{"text": f"mill {number}", "label": []} for number in range(20)]
    with pytest.raises(DataUnfit, match="no text has a label"):
        classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config(multi_label=True))


def test_a_label_that_is_only_measured_is_refused(tmp_path: Path):
    data = write_rows(tmp_path / "a.jsonl", mill_rows(20))
    other = write_rows(tmp_path / "b.jsonl", [{"text": "mill", "label": "wet"}, {"text": "race", "label": "damp"}])
    with pytest.raises(DataUnfit, match="line 2 has a label that none to learn from has"):
        classify.read(files(data, other), Config())


def test_numbers_are_labels_too(tmp_path: Path):
    rows = [{"text": f"mill {number}", "label": number % 2} for number in range(20)]
    split = classify.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())
    assert json.dumps(sorted({example.target for example in split.train})) == '[["0"], ["1"]]'
