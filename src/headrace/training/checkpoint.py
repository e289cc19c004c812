"""What a training keeps of itself, so that it can go on after it was cut off.

One file holds the weights that are trained, the optimizer's moments and, in its header, how far the training got: it is
written beside the old one, flushed to the disk and then put in its place, so that there always is one that is whole. It
is safetensors, so reading it runs no code. No state of a random generator is kept: the order of the examples follows
from the seed and the epoch, and dropout from the seed and the step.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from headrace.errors import TrainingCorrupt
from headrace.models.disk import flush, writing

_FACTS: Final = "facts"
_MODEL: Final = "model/"
_OPTIMIZER: Final = "optimizer/"
_NEW: Final = ".new"


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, facts: Mapping[str, Any]
) -> None:
    """Write a checkpoint in place of the one before.

    Args:
        path: Of the file.
        model: Its parameters are kept, but for those that are frozen: they are the base's.
        optimizer: Left out where only the weights are wanted.
        facts: What else is to be known, as JSON has it.

    Raises:
        StoreUnusable: The disk is full, or may not be written; the checkpoint before is still there.
    """
    tensors = {_MODEL + name: parameter.detach() for name, parameter in _trained(model).items()}
    if optimizer is not None:
        tensors |= {_OPTIMIZER + name: tensor for name, tensor in _moments(optimizer).items()}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    draft = path.with_name(path.name + _NEW)
    with writing(path):
        try:
            save_file(tensors, draft, {_FACTS: json.dumps(facts)})
        except SafetensorError as error:
            # What the system said is in its text alone; there is one reason why writing to an open file fails.
            draft.unlink(missing_ok=True)
            raise OSError(None, "the disk is full, or the file cannot be written", str(draft)) from error
        replace_durably(draft, path)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    """Put the weights, and the optimizer's moments, back.

    Raises:
        TrainingCorrupt: The file is broken, or is that of another model.
    """
    tensors = _read(path)
    parameters = _trained(model)
    kept = {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
    if {name: tensor.shape for name, tensor in kept.items()} != {name: each.shape for name, each in parameters.items()}:
        raise TrainingCorrupt(f"{path} holds another model; start anew with --no-resume")
    with torch.no_grad():
        for name, tensor in kept.items():
            parameters[name].copy_(tensor)
    if optimizer is not None:
        _restore_moments(optimizer, tensors)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint, without its tensors.

    Raises:
        TrainingCorrupt: The file is broken.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _corrupt(path) from error
    if not isinstance(facts, dict):
        raise _corrupt(path)
    return facts


def replace_durably(draft: Path, path: Path) -> None:
    """Flush a file and put it in the place of another one; after a power cut there is the one or the other."""
    flush(draft)
    draft.replace(path)
    flush(path.parent)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": tensor for index, kept in state.items() for name, tensor in kept.items()}


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, kind = name.removeprefix(_OPTIMIZER).partition("/")
            state.setdefault(int(index), {})[kind] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise _corrupt(path) from error


def _corrupt(path: Path) -> TrainingCorrupt:
    return TrainingCorrupt(f"{path} is not as it was written; start anew with --no-resume")
