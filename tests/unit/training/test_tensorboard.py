from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.unit.training.conftest import Watching

from headrace.errors import DependencyMissing, StoreUnusable
from headrace.training import tensorboard
from headrace.training.tensorboard import logging_to
from headrace.training.watching import Advance


def at(step: int, loss: float) -> Advance:
    return Advance(step=step, steps=9, epoch=1, epochs=1, loss=loss, examples_per_s=50.0, left_s=1.0)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_what_is_heard_is_written_and_passed_on(tmp_path: Path):
    watching = Watching()
    with logging_to(tmp_path / "logs", watching) as heard:
        heard.say("a line")
        heard.advanced(at(1, 0.5))
        heard.advanced(at(2, 0.25))
        heard.measured(2, 9, {"accuracy": 0.75})
        with heard.stoppable():
            assert watching.is_stoppable
        assert not heard.stops()
    assert watching.said == ["a line"]
    assert [one.step for one in watching.heard] == [1, 2]
    assert watching.measurements == [(2, {"accuracy": 0.75})]
    found = read(tmp_path / "logs")
    assert found["loss"] == [(1, 0.5), (2, 0.25)]
    assert found["held_out/accuracy"] == [(2, 0.75)]
    assert set(found) == {"loss", "examples_per_s", "epoch", "held_out/accuracy"}


def test_a_training_that_goes_on_replaces_what_came_after_its_checkpoint(tmp_path: Path):
    for steps in ((1, 2, 3), (3, 4)):  # it stopped after the third step, and the checkpoint was that of the second
        with logging_to(tmp_path, Watching()) as heard:
            for step in steps:
                heard.advanced(at(step, step + len(steps) / 10))
    assert [step for step, _ in read(tmp_path)["loss"]] == [1, 2, 3, 4]
    assert read(tmp_path)["loss"][2][1] == pytest.approx(3.2)


def test_without_a_folder_the_watcher_is_as_it_was(tmp_path: Path):
    watching = Watching()
    with logging_to(None, watching) as heard:
        assert heard is watching


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorboard, "missing", list)
    with (
        pytest.raises(DependencyMissing, match=r"pip install 'headrace\[tensorboard\]'"),
        logging_to(tmp_path, Watching()),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="file"), logging_to(tmp_path / "file" / "logs", Watching()):
        pass
