from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.training.conftest import LETTERS, Watching, write_rows

from headrace.errors import DataInvalid, DataUnfit, SourceUnsupported
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training import embed
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.embed import Config
from headrace.training.examples import Example
from headrace.training.result import write_result
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def files(path: Path) -> DataFiles:
    return DataFiles(train=path, measure=None, columns={})


def rows(count: int = 48) -> list[dict[str, Any]]:
    """Return questions whose answers have the two letters of the question, and others."""
    pairs = [(LETTERS[number % 26], LETTERS[(number * 7 + 3) % 26]) for number in range(count)]
    return [
        {"question": f"{first} {second} {'the' * (number % 2)}", "answer": f"water {first} wheel {second}"}
        for number, (first, second) in enumerate(pairs)
    ]


def test_it_learns(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=12, rows=8, learning_rate=3e-3, holdout=0.2, scale=10.0)
    split = embed.read(files(write_rows(tmp_path / "a.jsonl", rows())), config)
    run = Run(tmp_path, {}, config, Watching())
    outcome = embed.train(base, config, split, run, CPU)
    assert outcome.metrics["mrr"] > 0.9
    assert run.state.losses[-1][1] < run.state.losses[0][1] / 2
    assert list(outcome.metrics) == ["mrr", "recall_at_1", "recall_at_10"]


def test_what_it_leaves_is_an_embedding_model_as_the_base_was(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=1, rows=16, holdout=0.2)
    split = embed.read(files(write_rows(tmp_path / "a.jsonl", rows())), config)
    run = Run(tmp_path, {}, config, Watching())
    outcome = embed.train(base, config, split, run, CPU)
    identity = {"base": "tiny", "recipe": "embed"}
    write_result(tmp_path / "model", "mills", base, outcome, run.state, identity)
    left = read_checkpoint(tmp_path / "model")
    assert (left.task, left.pooling, left.normalize, left.max_tokens, left.prompts) == (
        *("embed", base.pooling, base.normalize, base.max_tokens, base.prompts),
    )


def test_a_passage_is_no_negative_of_its_own_query():
    pairs = [Example(("a", "x"), None, 1), Example(("b", "y"), None, 2), Example(("c", "x"), None, 3)]
    assert embed.same_passage(pairs).tolist() == [0, 1, 0]


def test_the_loss_is_the_cross_entropy_over_the_passages():
    asked = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    which = torch.tensor([0, 1, 2, 1])
    loss = embed.contrastive_loss(asked, asked, which, scale=20.0)
    scores = (20 * asked @ asked.T).numpy().astype(np.float64)
    scores[1, 3] = scores[3, 1] = -np.inf
    expected = np.mean([np.log(np.exp(row).sum()) - row[place] for place, row in enumerate(scores)])
    assert loss.item() == pytest.approx(expected, rel=1e-2)


def test_one_passage_is_refused(tmp_path: Path):
    same = [{"query": f"q {number}", "passage": "one"} for number in range(20)]
    with pytest.raises(DataUnfit, match="the same passage"):
        embed.read(files(write_rows(tmp_path / "a.jsonl", same)), Config())


def test_a_pair_without_one_of_its_texts_is_refused(tmp_path: Path):
    with pytest.raises(DataInvalid, match="line 2 has no text"):
        embed.read(files(write_rows(tmp_path / "a.jsonl", [*rows(1), {"question": "a", "answer": None}])), Config())


def test_a_base_with_a_head_is_refused(tmp_path: Path, classifier: Checkpoint):
    config = Config(holdout=0.2)
    split = embed.read(files(write_rows(tmp_path / "a.jsonl", rows())), config)
    with pytest.raises(SourceUnsupported, match="has a head"):
        embed.train(classifier, config, split, Run(tmp_path, {}, config, Watching()), CPU)
