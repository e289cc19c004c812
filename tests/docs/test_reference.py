import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says() -> None:
    check = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_a_page_that_differs_is_named(reference: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "same.md").write_text("a", encoding="utf-8")
    (tmp_path / "other.md").write_text("a", encoding="utf-8")
    (tmp_path / "old.md").write_text("a", encoding="utf-8")
    pages = {"same.md": "a", "other.md": "b", "missing.md": "c"}
    assert reference.stale_pages(pages, tmp_path) == ["missing.md", "old.md", "other.md"]


def test_a_stale_page_fails_the_check(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    reference.main()
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    with pytest.raises(SystemExit) as passed:
        reference.main()
    (tmp_path / "reference/errors.md").write_text("changed", encoding="utf-8")
    with pytest.raises(SystemExit) as failed:
        reference.main()
    assert (passed.value.code, failed.value.code) == (0, 1)
    assert "docs/reference/errors.md" in capsys.readouterr().err


def test_the_pages_hold_no_path_of_a_machine(reference: ModuleType) -> None:
    text = "".join(make() for make in reference.PAGES.values())
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    assert "$XDG_DATA_HOME/headrace" in text
