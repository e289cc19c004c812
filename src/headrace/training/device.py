"""Where a training computes, and in what."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from headrace.errors import SettingInvalid
from headrace.machine import Machine
from headrace.training.numbers import Numbers


@dataclass(frozen=True, slots=True)
class Compute:
    """What computes.

    Attributes:
        uses_bf16: Whether matrix products are in bfloat16; weights, gradients and the optimizer are float32 anyway.
    """

    device: torch.device
    uses_bf16: bool

    @contextmanager
    def reduced(self) -> Iterator[None]:
        """Compute matrix products as chosen; weights are converted once in each block."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.uses_bf16):
            yield

    def __str__(self) -> str:
        return f"{self.device.type}, {'bf16' if self.uses_bf16 else 'fp32'}"


def choose_compute(numbers: Numbers, machine: Machine) -> Compute:
    """Choose the device and the precision, and give PyTorch the threads that this machine allows.

    The choice follows from what the machine is, not from a measurement: the same seed shall give the same weights.

    Raises:
        SettingInvalid: The device that was asked for is not here.
    """
    device = _choose_device(numbers.device)
    if device.type == "cpu":
        torch.set_num_threads(machine.threads)
    multiplies_bf16 = {
        "cpu": not {"avx512_bf16", "amx_bf16"}.isdisjoint(machine.cpu_flags),
        "cuda": torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False),
    }.get(device.type, False)
    return Compute(device, uses_bf16=multiplies_bf16 if numbers.precision == "auto" else numbers.precision == "bf16")


def seed_dropout(device: torch.device, seed: int) -> None:
    """Seed what is drawn on a device from now on.

    ``torch.manual_seed`` also notes for each other kind of device that is not in use, with the stack that it was called
    from, that it is to be seeded one day: some ms a call, and memory that only grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def _choose_device(asked: str) -> torch.device:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return torch.device(next(name for name, is_here in here.items() if is_here))
    if not here[asked]:
        raise SettingInvalid(f"device {asked!r}: PyTorch {torch.__version__} sees none here; use cpu", field="device")
    return torch.device(asked)
