import pytest

from headrace.engine import plan as plans
from headrace.machine import Machine
from headrace.models.folder import ModelFolder
from headrace.optimize import variants
from headrace.optimize.variants import EXACT, list_variants, weigh

MACHINE = Machine(cpus=2.0, memory_bytes=1 << 30, cpu_model="", cpu_flags=("avx2", "fma"))


def test_the_exact_one_comes_first_and_each_once(monkeypatch: pytest.MonkeyPatch):
    for module in (variants, plans):
        monkeypatch.setattr(module, "installed_runtimes", lambda: ("onnxruntime", "native"))
    found = list_variants(MACHINE)
    assert found[0] == EXACT
    assert [each.name for each in found] == [
        "onnxruntime fp32",
        "native fp32",
        "native int16",
        "onnxruntime int8-blocks",
        "onnxruntime int8-dynamic",
        "onnxruntime int8-static",
    ]


def test_matrices_that_are_multiplied_shrink_and_tables_stay(folder: ModelFolder):
    whole, half, quarter = (weigh(folder.graph, precision) for precision in ("fp32", "bf16", "int8"))
    assert whole == folder.graph.stat().st_size
    multiplied = 2 * (4 * 64 * 64 + 2 * 64 * 128) * 4  # two layers, in float32
    assert whole - half == multiplied // 2
    assert whole - quarter == multiplied * 3 // 4
