import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bench import beside_trainer
from bench.beside_trainer import OURS, THEIRS, Finetuned, Work
from bench.labelled import Labelled, write_fold
from bench.trained import TASKS, _mean, accuracy, recall_of_embeddings, span_f1

from headrace.training.pipeline import load_recipe

ROWS = [{"text": f"mill {number}", "label": "ab"[number % 2]} for number in range(20)]


def test_every_row_is_asked_about_once(tmp_path: Path):
    folds = [write_fold(ROWS, tmp_path, fold) for fold in range(5)]
    asked = [row["text"] for fold in folds for row in fold.asked]
    assert sorted(asked) == sorted(row["text"] for row in ROWS)
    for fold in folds:
        learned = [json.loads(line)["text"] for line in fold.train.read_text(encoding="utf-8").splitlines()]
        assert len(learned) == 16
        assert not {row["text"] for row in fold.asked} & set(learned)


def test_the_order_of_rows_decides_nothing(tmp_path: Path):
    assert write_fold(ROWS, tmp_path).asked == write_fold(ROWS[::-1], tmp_path).asked


def test_every_task_is_of_a_recipe():
    assert all(load_recipe(task.recipe).Config for task in TASKS.values())  # type: ignore[arg-type]


def test_right_labels_are_counted():
    data = Labelled(Path(), tuple(ROWS[:4]))

    def ask(task: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert (task, len(body["inputs"])) == ("classify", 4)
        return [{"labels": [{"label": label, "score": 1.0}]} for label in "abba"]

    assert accuracy(ask, data, ROWS) == 0.5


def test_spans_are_compared_by_their_characters():
    data = Labelled(Path(), ({"tokens": ["to", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]},))

    def ask(_task: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        (text,) = body["inputs"]
        assert text[3:11] == "New York"
        return [{"entities": [{"start": 3, "end": 11, "label": "LOC"}, {"start": 0, "end": 2, "label": "LOC"}]}]

    assert span_f1(ask, data, []) == pytest.approx(2 / 3)


def test_the_nearest_answer_is_found():
    rows = [{"query": "q", "passage": "x"}, {"query": "r", "passage": "y"}]
    vectors = {"q": [1.0, 0.0], "r": [1.0, 0.1], "x": [1.0, 0.0], "y": [0.0, 1.0]}

    def ask(_task: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"embedding": vectors[text]} for text in body["inputs"]]

    assert recall_of_embeddings(ask, Labelled(Path(), tuple(rows)), rows) == 0.5


def test_speeds_are_compared_seed_by_seed():
    work = Work(kind=beside_trainer._CLASSIFIER, train=Path(), asked=Path(), epochs=2)
    runs = {OURS: [Finetuned(10.0, 0.8), Finetuned(20.0, 0.9)], THEIRS: [Finetuned(40.0, 0.8), Finetuned(50.0, 0.7)]}
    table = beside_trainer.compare(work, runs)
    assert table[2] == f"| {OURS} | 15 (10 to 20) | 3.25 (2.50 to 4.00) | 0.8500 (0.8000 to 0.9000) |"


def test_what_the_trainer_found_is_measured_as_ours_is():
    tagged = [{"tokens": ["New", "York", "is"], "tags": ["B-L", "I-L", "O"]}]
    assert beside_trainer._TAGGER.measure(tagged, [["B-L", "I-L", "O"]]) == 1.0
    assert beside_trainer._TAGGER.measure(tagged, [["B-L", "O", "O"]]) == 0.0
    assert beside_trainer._CLASSIFIER.measure(ROWS[:4], list("abba")) == 0.5


def test_a_figure_of_several_folds_has_its_range():
    assert _mean([]) == ""
    assert _mean([0.5]) == "0.5000"
    assert _mean([0.5, 0.7]) == "0.6000 (0.5000 to 0.7000)"
