import pytest
import torch

from headrace.errors import SettingInvalid
from headrace.machine import Machine
from headrace.training.device import Compute, choose_compute
from headrace.training.numbers import Numbers


def machine(*flags: str) -> Machine:
    return Machine(cpus=2.5, memory_bytes=1 << 30, cpu_model="any", cpu_flags=flags)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("flags", "precision", "uses_bf16"),
    [
        (("avx512f",), "auto", False),
        (("avx512f", "avx512_bf16"), "auto", True),
        (("amx_bf16",), "auto", True),
        (("amx_bf16",), "fp32", False),
        (("avx2",), "bf16", True),
    ],
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it(flags: tuple[str, ...], precision: str, uses_bf16: bool):
    chosen = choose_compute(Numbers(precision=precision), machine(*flags))  # type: ignore[arg-type]
    assert chosen == Compute(torch.device("cpu"), uses_bf16=uses_bf16)


def test_threads_are_those_that_the_machine_allows():
    choose_compute(Numbers(), machine())
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_told(device: str):
    with pytest.raises(SettingInvalid, match=f"device '{device}': PyTorch .* sees none here; use cpu"):
        choose_compute(Numbers(device=device), machine())  # type: ignore[arg-type]


def test_a_gpu_is_taken_if_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert str(choose_compute(Numbers(), machine())) == "cuda, bf16"


def test_products_are_reduced_and_weights_are_not():
    layer = torch.nn.Linear(4, 4)
    with Compute(torch.device("cpu"), uses_bf16=True).reduced():
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with Compute(torch.device("cpu"), uses_bf16=False).reduced():
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
    assert str(Compute(torch.device("cpu"), uses_bf16=False)) == "cpu, fp32"
