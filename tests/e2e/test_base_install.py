"""What the base install is: it serves, it is small, and it has no PyTorch."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import running_server

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("base-install")]

ROOT = Path(__file__).resolve().parents[2]
MAX_DISTRIBUTIONS = 49
INSTALLERS = {"pip", "setuptools", "uv"}


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with what serving needs, and nothing else."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin/python"
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, "--require-hashes", "-r", str(ROOT / "requirements/base.txt")], check=True)
    subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    return python


def test_the_server_runs_without_pytorch_and_transformers(base_python: Path, home: Path):
    with running_server(home, "tiny", python=str(base_python)) as server:
        assert server.embed({"inputs": ["w1"]}).status == 200
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text() if sys.platform == "linux" else ""
        assert "libtorch" not in loaded


def test_the_base_install_is_small(base_python: Path):
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    names = set(json.loads(subprocess.check_output([base_python, "-c", code], text=True))) - INSTALLERS
    assert len(names) <= MAX_DISTRIBUTIONS, sorted(names)
    assert not names & {"torch", "transformers", "onnx", "safetensors"}
    assert "headrace" in names


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="kernels are built for Linux on x86-64 only"
)
def test_the_kernels_come_with_the_package(base_python: Path, tmp_path: Path):
    code = "from headrace.engine.native import load_library as load; print(load('fp32')._name)"
    library = subprocess.check_output([base_python, "-P", "-c", code], text=True, cwd=tmp_path).strip()
    assert Path(library).is_relative_to(base_python.parents[1])  # not that of the checkout


def test_importing_without_the_extra_says_what_to_install(base_python: Path, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    result = subprocess.run(
        [base_python, "-m", "headrace", "import", "sentence-transformers/all-MiniLM-L6-v2", "--home", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("headrace: dependency.missing: ")
    assert "pip install 'headrace[import]'" in result.stderr
