"""What takes a step, and how long each step is."""

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import nn

from headrace.errors import SettingInvalid
from headrace.training.numbers import Numbers, Schedule

_MATRIX: Final = 2  # dimensions


def make_optimizer(parameters: Iterable[nn.Parameter], numbers: Numbers) -> torch.optim.Optimizer:
    """Return the optimizer for the parameters that are trained.

    Fused: one pass over the memory of each weight and its two moments instead of one for each operation.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.ndim >= _MATRIX], "weight_decay": numbers.weight_decay},
        {"params": [each for each in trained if each.ndim < _MATRIX], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if numbers.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=numbers.learning_rate, momentum=0.9, nesterov=True, fused=True)
    # Adam adds the decay to the gradient, where it is divided by the second moment; AdamW keeps it apart
    # (https://arxiv.org/abs/1711.05101).
    kind = torch.optim.AdamW if numbers.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=numbers.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, numbers: Numbers, step: int, steps: int) -> float:
    """Set the learning rate of a step, and return it."""
    rate = numbers.learning_rate * share_of_rate(numbers.schedule, numbers.warmup, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def take_step(optimizer: torch.optim.Optimizer, clip: float) -> None:
    """Change the weights by their gradients, and forget those.

    Args:
        optimizer: What takes the step, and knows the weights that are trained.
        clip: The longest that all of them together may be as one vector; a longer one is scaled down, so that a strange
            batch does not throw the weights far.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(trained, clip)
    optimizer.step()
    optimizer.zero_grad()


def share_of_rate(schedule: Schedule, warmup: float, step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the greatest.

    Args:
        schedule: Its way down from the greatest: straight, as half a cosine wave, or not at all.
        warmup: Share of the steps in which it grows from 0.
        step: From 0.
        steps: How many there are.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def freeze_layers(model: nn.Module, count: int) -> None:
    """Keep the embeddings and the first layers of an encoder as they are; 0 keeps nothing.

    Layers are the longest list of modules in it, whatever the family calls it.

    Raises:
        SettingInvalid: It has fewer.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=len, default=nn.ModuleList())
    if count > len(layers):
        raise SettingInvalid(f"freeze cannot be {count}: the model has {len(layers)} layers", field="freeze")
    if count:
        frozen = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "embeddings"]
        for module in [*frozen, *layers[:count]]:
            module.requires_grad_(False)
