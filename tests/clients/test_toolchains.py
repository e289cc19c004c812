"""How programs of other languages are built, with a language of this test's own: Python, that copies a file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bench.places import ROOT
from tests.support import toolchains
from tests.support.toolchains import TOOLCHAINS, Toolchain, ToolMissing, build, require

HERE = Toolchain(
    name="Python",
    tools=(sys.executable,),
    version=("--version", (3, 11)),
    packages="python3",
    build=(sys.executable, "-c", "import pathlib; pathlib.Path('built').write_text(pathlib.Path('lock').read_text())"),
    start=("cat", "{folder}/built", "{name}"),
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(toolchains, "TOOLCHAINS", {"lock": HERE})
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "lock").write_text("1")
    return folder


def test_a_program_is_built_again_if_its_folder_has_changed_and_not_otherwise(source: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    built = cache / "program/built"
    assert build(source, cache) == ("cat", str(built), "program")
    assert built.read_text() == "1"
    built.write_text("kept")
    build(source, cache)
    assert built.read_text() == "kept"
    (source / "lock").write_text("2")
    build(source, cache)
    assert built.read_text() == "2"


def test_a_program_is_built_again_if_it_is_built_in_another_way(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    build(source, cache)
    other = (sys.executable, "-c", "import pathlib; pathlib.Path('built').write_text('other')")
    monkeypatch.setattr(toolchains, "TOOLCHAINS", {"lock": replace(HERE, build=other)})
    build(source, cache)
    assert (cache / "program/built").read_text() == "other"


def test_what_could_not_be_built_is_tried_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(toolchains, "TOOLCHAINS", {"lock": replace(HERE, build=(sys.executable, "-c", "exit(1)"))})
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            build(source, cache)


@pytest.mark.parametrize("toolchain", TOOLCHAINS.values(), ids=lambda each: each.name)
def test_a_language_that_is_not_installed_is_named_with_what_installs_it(toolchain: Toolchain, tmp_path: Path):
    with pytest.raises(ToolMissing) as caught:
        require(toolchain, str(tmp_path))
    assert str(caught.value).startswith(f"{toolchain.name} ")
    assert str(caught.value).endswith(f"apt-get install {toolchain.packages}")


@pytest.mark.parametrize(("least", "is_old"), [((3, 11), False), ((3, 99), True), ((4, 0), True), ((2, 99), False)])
def test_a_language_that_is_too_old_is_refused(least: tuple[int, int], *, is_old: bool):
    toolchain = replace(HERE, version=("--version", least))
    if not is_old:
        assert require(toolchain) == f"Python {sys.version.split()[0]}"
        return
    with pytest.raises(ToolMissing, match=rf"Python {least[0]}\.{least[1]} or newer is needed and 'Python"):
        require(toolchain)


def test_continuous_integration_installs_every_language():
    script = (ROOT / ".ci/run").read_text()
    packages = [package for each in TOOLCHAINS.values() for package in each.packages.split()]
    assert [package for package in packages if f"missing+=({package})" not in script] == []
