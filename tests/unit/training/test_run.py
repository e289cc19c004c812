import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.training.conftest import Watching
from torch import nn

from headrace.errors import (
    TrainingBusy,
    TrainingChanged,
    TrainingCorrupt,
    TrainingDiverged,
    TrainingStopped,
    TrainingUnfinished,
)
from headrace.training import checkpoint
from headrace.training import run as run_module
from headrace.training.numbers import Numbers
from headrace.training.optimizers import make_optimizer
from headrace.training.run import Run, held_folder

LENGTHS = [4] * 20
IDENTITY = {"recipe": "test", "epochs": 2}


def go(
    folder: Path,
    *,
    stop_after: int | None = None,
    resume: bool | None = None,
    identity: dict[str, object] = IDENTITY,
    losses: list[float] | None = None,
    patience: int | None = None,
) -> tuple[Run, nn.Module, Watching]:
    """Do a training of 2 epochs of 4 steps, with dropout, whose best epoch is the first."""
    numbers = Numbers(rows=5, epochs=2, patience=patience, learning_rate=0.1)
    watching = Watching(stop_after)
    run = Run(folder, identity, numbers, watching)
    run.decide("mills", resume=resume)
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    optimizer = make_optimizer(model.parameters(), numbers)
    for update in run.updates(LENGTHS, model, optimizer):
        model(torch.ones(4, 3) * torch.from_numpy(update.rows[:4, None])).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        run.stepped(update, losses[update.number] if losses else float(update.rows.sum()))
        if update.ends_epoch:
            run.measured(model, {"accuracy": 0.9 - 0.1 * update.epoch, "other": 1.0})
    return run, model, watching


def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path):
    _, whole, _ = go(tmp_path)
    for stop_after in (1, 3, 4, 6, 7):
        folder = tmp_path / str(stop_after)
        folder.mkdir()
        with pytest.raises(TrainingStopped, match=f"stopped after step {stop_after} of 8"):
            go(folder, stop_after=stop_after)
        run, model, watching = go(folder, resume=True)
        assert watching.said[0] == f"goes on after step {stop_after} of 8"
        assert [at.step for at in watching.heard] == list(range(stop_after + 1, 9))
        for name, parameter in whole.named_parameters():
            assert torch.equal(parameter, dict(model.named_parameters())[name])
        assert [step for step, _ in run.state.measured] == [4, 8]
        assert run.state.best == 4


def test_the_best_weights_are_taken(tmp_path: Path):
    run, model, _ = go(tmp_path)
    last = [parameter.clone() for parameter in model.parameters()]
    assert run.take_best(model) == {"accuracy": 0.9, "other": 1.0}
    assert not all(torch.equal(before, after) for before, after in zip(last, model.parameters(), strict=True))


def test_nothing_measured_has_no_best(tmp_path: Path):
    run = Run(tmp_path, IDENTITY, Numbers(), Watching())
    assert run.take_best(nn.Linear(1, 1)) == {}


def test_what_was_interrupted_is_neither_lost_nor_continued_unasked(tmp_path: Path):
    with pytest.raises(TrainingStopped):
        go(tmp_path, stop_after=2)
    with pytest.raises(TrainingUnfinished, match="stopped after step 2; --resume goes on with it, --no-resume"):
        go(tmp_path)
    _, _, watching = go(tmp_path, resume=False)
    assert [at.step for at in watching.heard] == list(range(1, 9))


def test_going_on_with_nothing_begins(tmp_path: Path):
    _, _, watching = go(tmp_path, resume=True)
    assert watching.heard[0].step == 1


def test_another_training_is_not_continued(tmp_path: Path):
    with pytest.raises(TrainingStopped):
        go(tmp_path, stop_after=2)
    with pytest.raises(TrainingChanged, match="epochs was 2 and is 3; --no-resume"):
        go(tmp_path, resume=True, identity={"recipe": "test", "epochs": 3})


def test_a_broken_checkpoint_is_told_before_anything_is_done(tmp_path: Path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"broken")
    with pytest.raises(TrainingCorrupt):
        go(tmp_path, resume=True)


def test_what_is_done_is_forgotten(tmp_path: Path):
    run, _, _ = go(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best.safetensors", "checkpoint.safetensors"]
    run.forget()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_it(tmp_path: Path, loss: float):
    with pytest.raises(TrainingDiverged, match=r"loss of step 3 is (nan|inf); take a lower --learning-rate than 0.1"):
        go(tmp_path, losses=[1.0, 1.0, loss])


def test_it_stops_when_nothing_gets_better(tmp_path: Path):
    numbers = Numbers(rows=20, epochs=9, patience=2)
    run = Run(tmp_path, IDENTITY, numbers, Watching())
    model = nn.Linear(1, 1)
    optimizer = make_optimizer(model.parameters(), numbers)
    values = [0.1, 0.5, 0.3, 0.4, 0.9]
    for update in run.updates(LENGTHS, model, optimizer):
        run.stepped(update, 1.0)
        run.measured(model, {"accuracy": values[update.number]})
    assert run.state.step == 4
    assert run.state.best == 2


def test_checkpoints_are_written_between_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_module, "_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_module, "_INTERVAL_SAVES", 0)
    with pytest.raises(IndexError):  # as if it were killed in step 4
        go(tmp_path, losses=[1.0, 1.0, 1.0])
    _, _, watching = go(tmp_path, resume=True)
    assert watching.said[0] == "goes on after step 3 of 8"


def test_the_curve_has_the_mean_of_the_steps_of_each_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_module, "_POINTS", 4)
    run, _, _ = go(tmp_path, losses=[1, 2, 3, 4, 5, 6, 7, 8])
    assert run.state.losses == [(2, 1.5), (4, 3.5), (6, 5.5), (8, 7.5)]


def test_two_processes_do_not_train_one_model(tmp_path: Path):
    folder = tmp_path / "mills"
    program = (
        "import sys; from pathlib import Path; from headrace.training.run import held_folder\n"
        "with held_folder(Path(sys.argv[1]), 'mills'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(TrainingBusy, match="'mills' is being trained by another process"),
            held_folder(folder, "mills"),
        ):
            pass
        other.kill()
    with held_folder(folder, "mills"):
        pass


class Crash(BaseException):
    """Stands for the process being killed: nothing in the product catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the n-th change of the disk, and any after it, crash; a file that was being written is left half-written."""
    done = 0

    def counted(change: Callable[..., Any], *, writes: bool = False) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done <= number:
                return change(*args, **kwargs)
            if writes and done == number + 1:
                Path(args[1]).write_bytes(b"half of a file")
            raise Crash

        return run

    monkeypatch.setattr(checkpoint, "save_file", counted(save_file, writes=True))
    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


def test_a_training_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_module, "_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_module, "_INTERVAL_SAVES", 0)
    (tmp_path / "whole").mkdir()
    whole = go(tmp_path / "whole")
    whole[0].take_best(whole[1])
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, number)
            try:
                go(folder)
            except Crash:
                pass
            else:
                break
        run, model, _ = go(folder, resume=True)
        assert run.state.losses[-1] == whole[0].state.losses[-1]
        assert run.take_best(model) == {"accuracy": 0.9, "other": 1.0}
        for name, parameter in whole[1].named_parameters():
            assert torch.equal(parameter, dict(model.named_parameters())[name])
    assert number == 2 * (
        8 + 1 + 1
    )  # a checkpoint after each step and at the end, and the best weights: two changes each
