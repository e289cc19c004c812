from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from tests.unit.training.conftest import Watching, mill_rows, write_rows

from headrace.models.checkpoint import Checkpoint
from headrace.models.weights import WEIGHTS
from headrace.training import probe
from headrace.training.data import DataFiles
from headrace.training.device import Compute
from headrace.training.probe import Config
from headrace.training.run import Run

CPU = Compute(torch.device("cpu"), uses_bf16=False)


def test_it_learns_and_leaves_the_encoder_as_it_was(tmp_path: Path, base: Checkpoint):
    config = Config(epochs=40, rows=8, learning_rate=3e-2, holdout=0.2)
    files = DataFiles(train=write_rows(tmp_path / "a.jsonl", mill_rows(120)), measure=None, columns={})
    outcome = probe.train(base, config, probe.read(files, config), Run(tmp_path, {}, config, Watching()), CPU)
    assert outcome.metrics["accuracy"] > 0.8  # one label in two is right by chance
    outcome.model.save_pretrained(tmp_path)
    before, after = load_file(base.folder / WEIGHTS), load_file(tmp_path / WEIGHTS)
    head = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert head < after.keys()
    for name in after.keys() - head:
        np.testing.assert_array_equal(after[name], before[name.removeprefix("bert.")])
