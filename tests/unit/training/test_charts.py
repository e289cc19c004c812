from pathlib import Path

import numpy as np
import pytest

from headrace.training.charts import draw_confusion, draw_learning
from headrace.training.run import TrainingState

PNG = b"\x89PNG"


@pytest.mark.parametrize("measured", [[], [(2, {"accuracy": 0.5}), (4, {"accuracy": 0.9})]])
def test_a_curve_is_drawn_with_what_was_measured(tmp_path: Path, measured: list[tuple[int, dict[str, float]]]):
    state = TrainingState(step=4, losses=[(1, 0.9), (4, 0.2)], measured=measured, best=4 if measured else None)
    draw_learning(state, "mills", tmp_path / "a.png")
    draw_learning(state, "mills", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("labels", [3, 40])
def test_a_table_is_drawn_however_many_labels_there_are(tmp_path: Path, labels: int):
    names = [f"a label with a long name {number}" for number in range(labels)]
    draw_confusion(np.eye(labels, dtype=np.int64), names, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
