import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.engine import plan as plans
from headrace.engine.plan import (
    Plan,
    Precision,
    installed_runtimes,
    make_plan,
    native_library,
    precisions,
    runtime_version,
    settle,
)
from headrace.errors import DependencyMissing, SettingInvalid
from headrace.machine import Machine
from headrace.settings import EngineSettings

MACHINE = Machine(cpus=4.0, memory_bytes=1 << 30, cpu_model="a processor", cpu_flags=("avx2", "avx512_bf16"))
AVX2 = replace(MACHINE, cpu_flags=("avx2", "fma"))
NATIVE = replace(MACHINE, cpu_flags=("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"))
SAFE = Plan(runtime="onnxruntime", precision="fp32", threads=4, sessions=1, token_budget=1024)
TUNED = Plan(runtime="openvino", precision="bf16", threads=2, sessions=2, token_budget=512)


@pytest.fixture
def _has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "installed_runtimes", lambda: ("onnxruntime", "openvino", "native"))


@pytest.fixture(autouse=True)
def _has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "installed_runtimes", lambda: ("onnxruntime", "openvino"))


def test_what_is_installed_is_found():
    has_kernels = sys.platform == "linux" and platform.machine() == "x86_64"
    assert installed_runtimes() == ("onnxruntime", "openvino", *(("native",) if has_kernels else ()))


def test_an_installation_without_kernels_has_the_other_runtimes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(plans, "NATIVE", tmp_path)
    assert installed_runtimes() == ("onnxruntime", "openvino")
    with pytest.raises(DependencyMissing, match="install a wheel for Linux on x86-64"):
        make_plan(EngineSettings(runtime="native"), NATIVE)


def test_each_runtime_has_a_version():
    assert all(runtime_version(name) for name in installed_runtimes())


@pytest.mark.usefixtures("_has_all")
def test_the_sessions_of_the_native_runtime_share_all_threads():
    found = make_plan(EngineSettings(runtime="native"), NATIVE)
    assert (found.precision, found.sessions, found.threads, found.token_budget) == ("fp32", 4, 4, 512)
    found = make_plan(EngineSettings(runtime="native", sessions=2, threads=3, token_budget=999), NATIVE)
    assert (found.sessions, found.threads, found.token_budget) == (2, 3, 999)


@pytest.mark.usefixtures("_has_all")
@pytest.mark.parametrize("lacking", ["avx512f", "avx512_vnni", "avx512_bf16"])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_kernels_are_refused_on_a_processor_without_their_instructions(lacking: str, precision: Precision):
    machine = replace(NATIVE, cpu_flags=tuple(flag for flag in NATIVE.cpu_flags if flag != lacking))
    assert precisions("native", machine) == ("fp32", "int16")
    with pytest.raises(SettingInvalid, match=f"needs a processor with.*{lacking}.*to compute in '{precision}'"):
        make_plan(EngineSettings(runtime="native", precision=precision), machine)


@pytest.mark.usefixtures("_has_all")
@pytest.mark.parametrize("lacking", ["avx2", "fma"])
def test_the_native_runtime_is_refused_on_a_processor_that_has_none_of_its_instructions(lacking: str):
    machine = replace(AVX2, cpu_flags=tuple(flag for flag in AVX2.cpu_flags if flag != lacking))
    assert precisions("native", machine) == ()
    with pytest.raises(SettingInvalid, match=f"needs a processor with.*{lacking}"):
        make_plan(EngineSettings(runtime="native"), machine)


@pytest.mark.usefixtures("_has_all")
def test_each_precision_has_its_kernels():
    assert precisions("native", AVX2) == ("fp32", "int16")
    assert precisions("native", NATIVE) == ("fp32", "int16", "bf16", "int8")
    assert make_plan(EngineSettings(precision="int16"), AVX2).runtime == "native"
    assert native_library("fp32") == native_library("int16") != native_library("bf16") == native_library("int8")


def test_without_a_measurement_the_safe_plan_is_taken():
    assert make_plan(EngineSettings(), MACHINE) == SAFE


def test_a_measurement_decides_what_is_left_open():
    assert make_plan(EngineSettings(), MACHINE, TUNED) == TUNED


def test_what_the_user_sets_is_kept():
    settings = EngineSettings(sessions=1, token_budget=256)
    assert make_plan(settings, MACHINE, TUNED) == TUNED.model_copy(
        update={"sessions": 1, "threads": 4, "token_budget": 256}
    )
    assert make_plan(EngineSettings(threads=3), MACHINE, TUNED).threads == 3


def test_sizes_that_were_measured_for_another_precision_do_not_count():
    assert make_plan(EngineSettings(precision="fp32"), MACHINE, TUNED) == SAFE.model_copy(
        update={"runtime": "openvino"}
    )
    assert make_plan(EngineSettings(runtime="onnxruntime"), MACHINE, TUNED) == SAFE


def test_a_precision_brings_the_runtime_that_has_it():
    found = make_plan(EngineSettings(precision="bf16"), MACHINE)
    assert (found.runtime, found.precision) == ("openvino", "bf16")


def test_sessions_share_the_threads_of_the_machine():
    assert make_plan(EngineSettings(sessions=3), MACHINE).threads == 1
    assert make_plan(EngineSettings(sessions=64), MACHINE).threads == 1


def test_a_runtime_that_cannot_compute_in_a_precision_is_refused():
    with pytest.raises(SettingInvalid, match="onnxruntime does not compute in 'bf16'"):
        make_plan(EngineSettings(runtime="onnxruntime", precision="bf16"), MACHINE)


def test_a_runtime_that_is_not_installed_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plans, "installed_runtimes", lambda: ("onnxruntime",))
    with pytest.raises(DependencyMissing, match=r"pip install 'headrace\[openvino\]'"):
        make_plan(EngineSettings(runtime="openvino"), MACHINE)
    with pytest.raises(DependencyMissing, match="'openvino' is not installed"):
        make_plan(EngineSettings(precision="bf16"), MACHINE)
    assert make_plan(EngineSettings(), MACHINE, TUNED) == SAFE  # it was measured before it was removed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(("avx2",), ("fp32",)), (("avx512_bf16",), ("fp32", "bf16")), (("amx_bf16",), ("fp32", "bf16"))],
)
def test_bf16_is_only_for_processors_that_compute_in_it(flags: tuple[str, ...], expected: tuple[str, ...]):
    machine = Machine(cpus=1.0, memory_bytes=1, cpu_model="", cpu_flags=flags)
    assert precisions("openvino", machine) == expected
    assert precisions("onnxruntime", machine) == ("fp32",)


def test_a_settled_plan_is_what_the_options_then_ask_for():
    settled = settle(EngineSettings(max_queued_texts=7), TUNED)
    again = EngineSettings.model_validate_json(settled.model_dump_json())
    assert make_plan(again, MACHINE) == TUNED
    assert again.max_queued_texts == 7


def test_a_plan_reads_as_a_sentence():
    assert str(TUNED) == "openvino bf16, 2 x 2 threads, batches of 512 tokens"
