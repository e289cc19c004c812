"""The source keeps the rules of the house."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.architecture import code_rules, import_rules
from tests.architecture.graph import SOURCE, Tree, imports, read_tree

Rule = Callable[[Tree], list[str]]
RULES: dict[str, Rule] = {
    "layers": import_rules.layer_violations,
    "homes": import_rules.home_violations,
    "cycles": import_rules.cycle_violations,
    "sizes": code_rules.size_violations,
    "environment": code_rules.environment_violations,
    "broad_except": code_rules.broad_except_violations,
    "file_names": code_rules.file_name_violations,
    "unsafe": code_rules.unsafe_violations,
    "docstrings": code_rules.docstring_violations,
    "comparisons": code_rules.comparison_violations,
}


@pytest.fixture(scope="module")
def source() -> dict[str, str]:
    return read_tree()


def test_the_source_is_found(source: Tree) -> None:
    assert {"headrace/errors/base.py", "headrace/cache/memory.py"} <= set(source)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_source_keeps_the_rule(rule: Rule, source: Tree) -> None:
    assert rule(source) == []


def test_no_library_has_a_home_without_living_there(source: Tree) -> None:
    assert set(import_rules.HOMES) - {found.library for found in imports(source)} == set()


def test_every_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for name, lines in extras.items() if name != "dev" for line in lines)]
    declared = {re.split(r"[<>=;\[ ]", line)[0].replace("-", "_") for line in asked}
    assert {import_rules.COMES_WITH.get(library, library) for library in import_rules.HOMES} <= declared


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "headrace",
            {"torch", "transformers", "onnx", "onnxruntime", "openvino", "fastapi", "numpy", "pydantic", "httpx2"},
        ),
        ("headrace.client", {"torch", "transformers", "onnx", "onnxruntime", "fastapi", "pydantic", "grpc", "google"}),
        ("headrace.cli.main", {"torch", "transformers", "onnx", "onnxruntime", "fastapi", "boto3"}),
        ("headrace.app", {"torch", "transformers", "onnx", "onnxruntime", "openvino", "typer"}),
    ],
)
def test_an_import_loads_nothing_heavy(module: str, heavy: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "headrace" in loaded
    assert loaded & heavy == set()


@pytest.mark.parametrize("path", sorted((SOURCE / "headrace/native").glob("*.[ch]")), ids=lambda path: path.name)
def test_a_file_of_c_says_what_it_is_for_and_is_no_longer_than_one_of_python(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= 400
