from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.support.headed import write_headed
from tests.unit.training.conftest import LETTERS, Watching, write_rows

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training import rerank
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.examples import Example
from headrace.training.rerank import Config, Pairs
from headrace.training.result import write_result
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def files(path: Path) -> DataFiles:
    return DataFiles(train=path, measure=None, columns={})


def judged(count: int = 40) -> list[dict[str, Any]]:
    """Return queries with a passage that has water in it and answers, and one that has a wheel and does not."""
    return [
        {
            "query": f"q {LETTERS[number % 26]} {number}",
            "passage": f"{word} {LETTERS[(number + 5) % 26]}",
            "relevance": value,
        }
        for number in range(count)
        for word, value in (("water", 1), ("wheel", 0))
    ]


def test_it_learns_from_pairs_that_were_judged(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=5, rows=8, learning_rate=2e-3, holdout=0.2)
    split = rerank.read(files(write_rows(tmp_path / "a.jsonl", judged())), config)
    run = Run(tmp_path, {}, config, Watching())
    outcome = rerank.train(base, config, split, run, CPU)
    assert outcome.metrics == {"mrr": 1.0, "recall_at_1": 1.0}
    write_result(tmp_path / "model", "mills", base, outcome, run.state, {"base": "tiny", "recipe": "rerank"})
    left = read_checkpoint(tmp_path / "model")
    assert (left.task, left.function) == ("rerank", "sigmoid")


def test_all_pairs_of_a_query_are_on_one_side(tmp_path: Path):
    split = rerank.read(files(write_rows(tmp_path / "a.jsonl", judged())), Config(holdout=0.25))
    learned, held_out = ({example.text[0] for example in part} for part in (split.train, split.held_out))
    assert not learned & held_out
    assert (len(split.train), len(split.held_out)) == (60, 20)


def test_pairs_without_a_relevance_get_passages_that_do_not_answer(tmp_path: Path, base: Checkpoint):
    rows = [{"query": f"q {LETTERS[number]}", "passage": f"water {LETTERS[number]}"} for number in range(26)]
    config = Config(epochs=1, negatives=3, holdout=0.2)
    split = rerank.read(files(write_rows(tmp_path / "a.jsonl", rows)), config)
    outcome = rerank.train(base, config, split, Run(tmp_path, {}, config, Watching()), CPU)
    assert outcome.examples == (21 * (1 + 3), 5 * 20)


def test_the_nearest_that_are_not_said_to_answer_are_taken():
    examples = [Example(("q", "a"), 1.0, 1), Example(("q", "b"), 0.5, 2), Example(("r", "c"), 1.0, 3)]
    pairs = rerank.with_candidates(examples, {"q": ["b", "c", "a", "d", "e"], "r": ["c", "a"]}, 2)
    assert pairs.texts == (("q", "a"), ("q", "b"), ("q", "c"), ("q", "d"), ("r", "c"), ("r", "a"))
    assert pairs.relevance.tolist() == [1.0, 0.5, 0.0, 0.0, 1.0, 0.0]
    assert pairs.queries.tolist() == [0, 0, 0, 0, 1, 1]


def test_the_place_of_the_best_passage_is_measured():
    pairs = Pairs((("", ""),) * 7, torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), np.array([0, 0, 0, 1, 1, 2, 2]))
    scores = torch.tensor([0.5, 0.7, 0.1, 0.3, 0.3, 0.0, 0.0])
    assert rerank.measure(scores, pairs) == {"mrr": pytest.approx((1 / 2 + 1 / 2) / 2), "recall_at_1": 0.0}


def test_pairs_from_which_nothing_can_be_measured_are_refused():
    with pytest.raises(DataUnfit, match="no query that was held back"):
        rerank.measure(torch.zeros(2), Pairs((("", ""),) * 2, torch.ones(2), np.array([0, 1])))


@pytest.mark.parametrize("value", ["high", 2, -0.1, None, "nan"])
def test_a_relevance_that_is_none_is_refused(tmp_path: Path, value: object):
    rows = [*judged(2), {"query": "q", "passage": "p", "relevance": value}]
    with pytest.raises(DataInvalid, match=r"line 5: .* is no relevance; write 0 to 1"):
        rerank.read(files(write_rows(tmp_path / "a.jsonl", rows)), Config())


def test_data_without_anything_to_tell_are_refused(tmp_path: Path):
    same = [{"query": f"q {number}", "passage": "one"} for number in range(20)]
    with pytest.raises(DataUnfit, match="the same passage"):
        rerank.read(files(write_rows(tmp_path / "a.jsonl", same)), Config())
    none = [{"query": f"q {number}", "passage": f"p {number}", "relevance": 0} for number in range(20)]
    with pytest.raises(DataUnfit, match="no passage answers"):
        rerank.read(files(write_rows(tmp_path / "a.jsonl", none)), Config())


def test_models_with_one_type_for_all_tokens_are_known(tmp_path: Path, base: Checkpoint):
    assert rerank.has_token_types(base)
    single = write_headed(tmp_path, transformers.BertForSequenceClassification, {0: "a"}, type_vocab_size=1)
    assert not rerank.has_token_types(read_checkpoint(single))
