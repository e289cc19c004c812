import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.manifests import describe_model
from tests.unit.optimize.conftest import TEXTS

from headrace.errors import DataInvalid, DataUnfit, TaskUnsupported
from headrace.models.folder import ModelFolder
from headrace.models.manifest import Manifest
from headrace.optimize.questions import Choices, Classes, Entities, Readings, Searches
from headrace.optimize.samples import carried_questions, read_questions


def model(task: str, **fields: Any) -> Manifest:
    return describe_model(task=task, **fields)


def read(folder: Path, name: str, content: str, manifest: Manifest, **columns: str) -> tuple[Any, Any]:
    path = folder / name
    path.write_text(content)
    return read_questions(path, columns, manifest)


def test_pairs_are_searches_and_texts_alone_are_compared_only(tmp_path: Path):
    asked, told = read(tmp_path, "a.csv", "question,answer\nq1,p1\nq2,p2\n", model("embed"))
    assert asked == Searches(("q1", "q2"), ("p1", "p2"))
    assert told == ["a.csv: 2 rows; query is 'question', passage is 'answer'"]
    asked, _ = read(tmp_path, "b.csv", "text\none\ntwo\n", model("embed"))
    assert asked == Searches(("one", "two"))


def test_labels_are_those_of_the_model(tmp_path: Path):
    classifier = model("classify", labels=("bad", "good"), function="softmax")
    asked, _ = read(tmp_path, "a.tsv", "text\tlabel\nfine\tgood\ndull\tbad\n", classifier)
    assert asked == Classes(("fine", "dull"), (frozenset({"good"}), frozenset({"bad"})))
    with pytest.raises(DataUnfit, match=r"a.tsv: line 3 has a label that 'tiny' does not know, such as 'grand'"):
        read(tmp_path, "a.tsv", "text\tlabel\nfine\tgood\ndull\tgrand\n", classifier)
    asked, _ = read(tmp_path, "c.csv", "review\nfine\n", classifier)
    assert asked == Classes(("fine",))


def test_several_labels_are_separated_or_listed(tmp_path: Path):
    classifier = model("classify", labels=("a", "b"), function="sigmoid")
    lines = [{"text": "one", "labels": ["a", "b"]}, {"text": "two", "labels": "b | a"}, {"text": "three", "labels": []}]
    asked, _ = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)), classifier)
    assert asked.truth == (frozenset("ab"), frozenset("ab"), frozenset())
    assert asked.threshold == 0.5


def test_tagged_words_become_spans_of_characters(tmp_path: Path):
    asked, _ = read(tmp_path, "a.conll", "In O\nNew B-P\nYork I-P\n\nhi O\n", model("extract"))
    assert asked == Entities(("In New York", "hi"), ({(3, 11, "P")}, set()))
    with pytest.raises(DataInvalid, match="line 1: words and tags are no two lists of the same length"):
        read(tmp_path, "b.jsonl", json.dumps({"words": ["a", "b"], "tags": ["O"]}), model("extract"))


def test_numbers_and_choices(tmp_path: Path):
    asked, _ = read(tmp_path, "a.csv", "text,value\none,1\ntwo,2.5\n", model("regress"))
    assert asked == Readings(("one", "two"), (1.0, 2.5))
    with pytest.raises(DataInvalid, match="line 3: value is no number"):
        read(tmp_path, "a.csv", "text,value\none,1\ntwo,many\n", model("regress"))
    asked, _ = read(tmp_path, "a.csv", "query,passage\nq1,p1\nq2,p2\n", model("rerank"))
    assert asked == Choices(("q1", "q2"), (("p1", "p2"), ("p2", "p1")), has_truth=True)


def test_more_texts_than_are_asked_are_drawn_the_same_each_time(tmp_path: Path):
    content = "text\n" + "".join(f"text {number}\n" for number in range(2500))
    first, told = read(tmp_path, "a.csv", content, model("embed"))
    second, _ = read(tmp_path, "a.csv", content, model("embed"))
    assert len(first) == 2000
    assert first == second
    assert "a.csv: 2,000 of its texts were drawn" in told


def test_an_empty_text_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(DataInvalid, match="line 3 has no text"):
        read(tmp_path, "a.csv", 'text,label\none,a\n" ",a\n', model("classify", labels=("a",)))


@pytest.mark.parametrize("task", ["answer", "zeroshot"])
def test_tasks_that_are_not_compared_say_which_are(tmp_path: Path, task: str):
    with pytest.raises(TaskUnsupported, match="those that do classify, embed, extract, regress, rerank are"):
        read(tmp_path, "a.csv", "text\none\n", model(task))


def test_without_data_the_texts_that_the_model_carries_are_asked(folder: ModelFolder):
    assert carried_questions(folder) == Searches(TEXTS)
