import importlib.util
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from tests.unit.cli.conftest import manifest

from headrace.diagnose import Finding, diagnose, tiny_graph
from headrace.errors import ModelCorrupt
from headrace.machine import Machine
from headrace.models.store import LocalStore, StoredModel
from headrace.settings import LoadedSettings, load_settings

MACHINE = Machine(cpus=2.0, memory_bytes=8 << 30, cpu_model="Some CPU", cpu_flags=("avx2", "avx512_vnni"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "models")


def add_model(store: LocalStore, name: str = "minilm") -> StoredModel:
    with store.draft() as draft:
        for file in ("model.onnx", "reference.json", "tokenizer.json"):
            (draft / file).write_text(file, encoding="utf-8")
        return store.publish(draft, lambda files: manifest(name=name, **files))


def load(store: LocalStore, **flags: Any) -> LoadedSettings:
    given = {key.replace("__", "."): value for key, value in flags.items()}
    return load_settings({"store.home": store.root.parent, "server.port": 0, **given})


def findings(
    store: LocalStore, *, machine: Machine = MACHINE, verify: bool = False, **flags: Any
) -> Mapping[str, Finding]:
    return {found.name: found for found in diagnose(load(store, **flags), verify=verify, machine=machine)}


def test_a_machine_that_is_fine_has_no_error_and_no_remedy(store: LocalStore) -> None:
    add_model(store)
    found = findings(store)
    assert [each for each in found.values() if each.status == "error"] == []
    assert [each.name for each in found.values() if each.status == "ok" and each.remedy] == []
    checks = "python settings cpu threads memory import port access store"
    assert set(found) == {*checks.split(), "runtime onnxruntime", "runtime openvino", "model minilm"}


def test_everything_that_is_not_ok_has_a_remedy(store: LocalStore) -> None:
    weak = Machine(cpus=0.5, memory_bytes=1 << 20, cpu_model="Old CPU", cpu_flags=())
    found = findings(store, machine=weak, server__host="0.0.0.0", engine__threads=9)  # noqa: S104 - refused, that is the point
    assert [each for each in found.values() if each.status != "ok" and not each.remedy] == []
    assert found["access"].status == "error"
    assert found["memory"].status == found["threads"].status == "warning"


def test_the_machine_is_read_if_none_is_given(store: LocalStore) -> None:
    assert next(found.name for found in diagnose(load(store), verify=False)) == "python"


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        (("avx2",), "fp32"),
        (("avx2", "avx512_bf16", "amx_int8"), "fp32, bf16, int8"),
        ((), "none known"),
    ],
)
def test_the_cpu_says_which_precisions_are_fast(store: LocalStore, flags: tuple[str, ...], fast: str) -> None:
    machine = Machine(cpus=1, memory_bytes=1 << 40, cpu_model="C", cpu_flags=flags)
    assert f"fast precisions: {fast}" in findings(store, machine=machine)["cpu"].detail


@pytest.mark.parametrize(("architecture", "status"), [("x86_64", "warning"), ("aarch64", "ok")])
def test_only_an_x86_cpu_is_expected_to_have_avx2(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, architecture: str, status: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    machine = Machine(cpus=1, memory_bytes=1 << 40, cpu_model="C", cpu_flags=())
    assert findings(store, machine=machine)["cpu"].status == status


@pytest.mark.parametrize(
    ("threads", "sessions", "remedy"),
    [(None, 1, None), (2, 1, None), (3, 1, "use --threads 2"), (2, 2, "use --threads 1")],
)
def test_more_threads_than_cpus_are_a_warning(
    store: LocalStore, threads: int | None, sessions: int, remedy: str | None
) -> None:
    assert findings(store, engine__threads=threads, engine__sessions=sessions)["threads"].remedy == remedy


def test_the_smallest_graph_is_a_valid_model() -> None:
    model = onnx.load_model_from_string(tiny_graph())
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]


def test_a_runtime_that_cannot_load_a_graph_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise ModelCorrupt("no")

    monkeypatch.setattr("headrace.engine.onnx.OnnxBackend", refuse)
    found = findings(store)
    broken = found["runtime onnxruntime"]
    assert (broken.status, broken.remedy) == ("error", "pip install --force-reinstall onnxruntime")
    assert found["runtime openvino"].status == "ok"


@pytest.mark.parametrize(("flags", "is_told"), [(("avx2", "avx512_bf16"), True), (("avx2",), False)])
def test_openvino_is_recommended_where_it_pays(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], is_told: bool
) -> None:
    monkeypatch.setattr("headrace.diagnose.installed_runtimes", lambda: ("onnxruntime",))
    found = findings(store, machine=Machine(cpus=2, memory_bytes=1 << 40, cpu_model="C", cpu_flags=flags))
    assert ("runtime openvino" in found) == is_told
    if is_told:
        assert found["runtime openvino"].status == "warning"
        assert found["runtime openvino"].remedy == "pip install 'headrace[openvino]'"


def test_a_missing_extra_is_a_warning_with_the_command(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else SimpleNamespace())
    found = findings(store)["import"]
    assert (found.status, found.remedy) == ("warning", "pip install 'headrace[import]'")
    assert "onnx" in found.detail


def test_without_pytorch_the_common_families_can_be_imported(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else SimpleNamespace())
    found = findings(store)["import"]
    assert found.status == "ok"
    assert "others need torch" in found.detail


def test_a_taken_port_is_an_error(store: LocalStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert findings(store, server__port=port)["port"].status == "error"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", "ok"), ("localhost", "ok"), ("::1", "ok"), ("0.0.0.0", "error")],  # noqa: S104 - to be refused
)
def test_without_keys_only_loopback_is_safe(store: LocalStore, host: str, status: str) -> None:
    assert findings(store, server__host=host)["access"].status == status


def test_with_keys_a_public_address_is_safe(store: LocalStore) -> None:
    found = findings(store, server__host="0.0.0.0", auth__keys="a-very-secret-key-1234")  # noqa: S104 - allowed with keys
    assert found["access"].status == "ok"
    assert "a-very-secret-key-1234" not in str(found)


def test_a_store_that_cannot_be_written_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert findings(store)["store"].status == "error"


def test_a_full_disk_is_a_warning(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    found = findings(store)["store"]
    assert (found.status, "1 MiB free" in found.detail) == ("warning", True)


def test_an_empty_store_names_the_import_command(store: LocalStore) -> None:
    store.root.mkdir()
    found = findings(store)["models"]
    assert (found.status, str(found.remedy).startswith("headrace import ")) == ("warning", True)


def test_a_manifest_that_cannot_be_read_is_an_error_and_its_remedy_mends_it(store: LocalStore) -> None:
    add_model(store, "fine")
    (add_model(store, "broken").path / "manifest.json").write_text("{", encoding="utf-8")
    found = findings(store)
    assert found["model fine"].status == "ok"
    assert found["model broken"].status == "error"
    assert found["memory"].status == "ok"  # of those that can be served
    removal = str(found["model broken"].remedy).removesuffix(", and import it again").removeprefix("headrace ")
    subprocess.run([sys.executable, "-m", "headrace", *shlex.split(removal), "--yes"], check=True)
    assert "model broken" not in findings(store)


def test_a_folder_of_somebody_else_is_no_model_and_a_broken_version_is_told(store: LocalStore) -> None:
    (add_model(store).path.parent / "junk").mkdir()
    (store.root / "lost+found").mkdir()
    found = [each for each in diagnose(load(store), verify=False, machine=MACHINE) if each.name.startswith("model")]
    assert [(each.name, each.status) for each in found] == [("model minilm", "ok"), ("model minilm", "error")]


def test_a_wrong_choice_of_the_champion_is_told_and_its_remedy_mends_it(store: LocalStore) -> None:
    (add_model(store).path.parent / "roles.json").write_text("garbage", encoding="utf-8")
    found = [each for each in diagnose(load(store), verify=False, machine=MACHINE) if each.status == "error"]
    assert ["roles.json: the file: Invalid JSON" in each.detail for each in found] == [True]
    subprocess.run(["sh", "-c", str(found[0].remedy)], check=True)
    assert findings(store)["model minilm"].status == "ok"


def test_a_model_that_may_not_be_read_is_not_to_be_deleted(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add_model(store)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = findings(store)["model minilm"]
    assert (found.status, str(found.remedy).startswith("chmod ")) == ("error", True)
    assert "cannot read " in found.detail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelCorrupt("it is broken"), "it is broken"),
        (PermissionError(13, "Permission denied", "/a"), "cannot look at /a: Permission denied"),
        (OSError(5, "Input/output error"), "cannot look at it: Input/output error"),
        (ZeroDivisionError("a text of somebody"), "the check itself failed: ZeroDivisionError"),
    ],
)
def test_a_check_that_fails_is_a_finding_and_the_others_still_count(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(_store: LocalStore) -> None:
        raise error

    monkeypatch.setattr(LocalStore, "scan_all", fail)
    found = findings(store)
    assert {found["memory"].detail, found["models"].detail} == {told}
    assert found["memory"].status == "error"
    assert found["memory"].remedy
    assert found["port"].status == "ok"


def test_a_host_that_is_no_name_is_an_error(store: LocalStore) -> None:
    assert "no host name" in findings(store, server__host="a..b")["port"].detail


def test_a_changed_file_is_found_only_if_every_file_is_read(store: LocalStore) -> None:
    model = add_model(store)
    (model.path / "model.onnx").write_text("MODEL.ONNX", encoding="utf-8")
    assert findings(store)["model minilm"].status == "ok"
    assert findings(store, verify=True)["model minilm"].status == "error"


def test_verified_files_are_called_so(store: LocalStore) -> None:
    add_model(store)
    assert "every file verified" in findings(store, verify=True)["model minilm"].detail
