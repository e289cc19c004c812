from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from headrace.errors import StoreUnusable, TrainingCorrupt
from headrace.training import checkpoint
from headrace.training.checkpoint import load_checkpoint, read_facts, save_checkpoint
from headrace.training.numbers import Numbers
from headrace.training.optimizers import make_optimizer


def make(seed: int) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    return model, make_optimizer(model.parameters(), Numbers(learning_rate=0.01))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    rows = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
    model(rows).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_training_goes_on_as_if_nothing_had_been(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    model, optimizer = make(0)
    step(model, optimizer, 1)
    save_checkpoint(path, model, optimizer, {"step": 1})
    step(model, optimizer, 2)

    other, its_optimizer = make(9)
    load_checkpoint(path, other, its_optimizer)
    step(other, its_optimizer, 2)
    assert read_facts(path) == {"step": 1}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, dict(other.named_parameters())[name])


def test_weights_alone_are_kept_alone(tmp_path: Path):
    model, _ = make(0)
    save_checkpoint(tmp_path / "best", model, None, {})
    other, _ = make(9)
    load_checkpoint(tmp_path / "best", other, None)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, dict(other.named_parameters())[name])


def test_what_is_frozen_is_left_to_the_base(tmp_path: Path):
    model, _ = make(0)
    model[0].requires_grad_(False)
    save_checkpoint(tmp_path / "best", model, None, {})
    other, _ = make(9)
    other[0].requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in other.named_parameters()}
    load_checkpoint(tmp_path / "best", other, None)
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, before[name] if name.startswith("0.") else model.get_parameter(name))
    with pytest.raises(TrainingCorrupt, match="another model"):
        load_checkpoint(tmp_path / "best", make(9)[0], None)


@pytest.mark.parametrize("content", [b"", b"no file of tensors", b"\xff" * 100])
def test_a_broken_file_is_told(tmp_path: Path, content: bytes):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    model, optimizer = make(0)
    with pytest.raises(TrainingCorrupt, match="--no-resume"):
        load_checkpoint(path, model, optimizer)
    with pytest.raises(TrainingCorrupt, match="--no-resume"):
        read_facts(path)


def test_a_file_that_was_cut_off_is_told(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    model, optimizer = make(0)
    save_checkpoint(path, model, optimizer, {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingCorrupt):
        load_checkpoint(path, model, optimizer)


def test_the_checkpoint_of_another_model_is_told(tmp_path: Path):
    model, _ = make(0)
    save_checkpoint(tmp_path / "c", model, None, {})
    with pytest.raises(TrainingCorrupt, match="another model"):
        load_checkpoint(tmp_path / "c", nn.Linear(4, 8), None)


def test_facts_that_are_none_are_told(tmp_path: Path):
    model, _ = make(0)
    save_checkpoint(tmp_path / "c", model, None, [1])  # type: ignore[arg-type]
    with pytest.raises(TrainingCorrupt):
        read_facts(tmp_path / "c")


def test_until_the_new_one_is_whole_the_old_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "c"
    model, _ = make(0)
    save_checkpoint(path, model, None, {"step": 1})

    def fail(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(StoreUnusable, match="disk is full"):
        save_checkpoint(path, model, None, {"step": 2})
    assert read_facts(path) == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["c"]
