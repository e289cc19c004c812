from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.training.conftest import LETTERS, Watching, model_of, write_rows

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint
from headrace.training import extract
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.examples import Example
from headrace.training.extract import Config
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def files(path: Path) -> DataFiles:
    return DataFiles(train=path, measure=None, columns={})


def rows(count: int = 60) -> list[dict[str, Any]]:
    """Return sentences in which "water wheel" is a thing, and "water" alone a place."""
    made = []
    for number in range(count):
        around = [LETTERS[(number * 5 + place) % 26] * (1 + place % 3) for place in range(number % 5)]
        thing, tags = (["water", "wheel"], ["B-THING", "I-THING"]) if number % 2 else (["water"], ["B-PLACE"])
        made.append({"tokens": [*around, *thing, "the"], "tags": ["O"] * len(around) + tags + ["O"]})
        made[-1]["tokens"].append(LETTERS[number % 26])
        made[-1]["tags"].append("O")
    return made


def test_it_learns(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=8, rows=8, learning_rate=6e-3, holdout=0.2)
    split = extract.read(files(write_rows(tmp_path / "a.jsonl", rows())), config)
    outcome = extract.train(base, config, split, Run(tmp_path, {}, config, Watching()), CPU)
    assert outcome.metrics["span_f1"] > 0.95
    assert outcome.labels == ["O", "B-PLACE", "I-PLACE", "B-THING", "I-THING"]
    assert model_of(outcome).config.id2label == dict(enumerate(outcome.labels))


def test_a_conll_file_gives_the_same(tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text("\n".join(f"a{n} O\nwater I-X\nwheel I-X\n" for n in range(20)), encoding="utf-8")
    split = extract.read(files(path), Config())
    assert split.train[0].target == ("O", "B-X", "I-X")
    assert split.findings == ("a.conll: 20 rows; words is 'tokens', tags is 'tags'", "entities: X 18")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
        ({"tokens": ["a"], "tags": ["PER"]}, "'PER' is no tag; write O, or B- or I- before a label"),
        ({"tokens": ["a"], "tags": [3]}, "tags is no list of words"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "tokens is no list of words"),
        ({"tokens": "a", "tags": ["O"]}, "tokens is no list of words"),
    ],
)
def test_a_row_that_is_no_sentence_is_refused(tmp_path: Path, row: dict[str, Any], told: str):
    with pytest.raises(DataInvalid, match=f"a.jsonl, line 3: {told}"):
        extract.read(files(write_rows(tmp_path / "a.jsonl", [*rows(2), row])), Config())


def test_nothing_to_find_is_refused(tmp_path: Path):
    nothing = [{"tokens": [f"a{n}"], "tags": ["O"]} for n in range(20)]
    with pytest.raises(DataUnfit, match="every word has the tag O"):
        extract.read(files(write_rows(tmp_path / "a.jsonl", nothing)), Config())


def test_a_label_that_is_only_measured_is_refused(tmp_path: Path):
    data = write_rows(tmp_path / "a.jsonl", rows(20))
    other = write_rows(tmp_path / "b.jsonl", [{"tokens": ["mill"], "tags": ["B-BUILDING"]}])
    with pytest.raises(DataUnfit, match="line 1 has a label that none to learn from has"):
        extract.read(DataFiles(train=data, measure=other, columns={}), Config())


def test_the_first_token_of_a_word_is_the_one_that_its_end_is_in():
    example: Example[tuple[str, ...]] = Example("Paris is big", ("B-LOC", "O", "O"), 1)
    # as a tokenizer gives them that counts the space before a word to it; the last word is cut off
    spans = np.array([[0, 0], [0, 3], [3, 5], [5, 6], [5, 8], [0, 0]], np.int32)
    assert extract._first_tokens(example, spans) == [1, 4, None]
    assert extract._as_targets(example, spans, ["O", "B-LOC", "I-LOC"]).tolist() == [-100, 1, 2, -100, 0, -100]


def test_a_space_in_a_word_does_not_part_it(tmp_path: Path):
    made = [*rows(20), {"tokens": ["New York", "calls"], "tags": ["B-PLACE", "O"]}]
    split = extract.read(files(write_rows(tmp_path / "a.jsonl", made)), Config(holdout=0.1))
    (example,) = [each for each in (*split.train, *split.held_out) if "York" in str(each.text)]
    assert len(str(example.text).split(" ")) == 2


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (("B-X", "O"), ["B-X", "I-X", "I-X", "O", "O"]),
        (("I-X", "O"), ["I-X", "I-X", "I-X", "O", "O"]),
        (("U-X", "O"), ["U-X", None, None, "O", "O"]),  # a second one would end another span
        (("B-X", "L-X"), ["B-X", "I-X", "I-X", "L-X", None]),
    ],
)
def test_every_token_of_a_word_is_learned_from(tags: tuple[str, ...], expected: list[str | None]):
    example = Example("U.S. it's", tags, 1)
    spans = np.array([(0, 0), (0, 1), (1, 2), (2, 4), (5, 7), (7, 9), (0, 0)], np.int32)
    names = ["O", "B-X", "I-X", "U-X", "L-X"]
    found = extract._as_targets(example, spans, names).tolist()
    assert (found[0], found[-1]) == (-100, -100)
    assert [None if each == -100 else names[each] for each in found[1:-1]] == expected
