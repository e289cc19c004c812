"""Where reports go: a page for each kind of processor, and docs/benchmarks.md, which leads to them.

Kinds differ by the widest instructions that matter, not by name: clouds name many processors alike, and what decides a
ratio is which products are computed in one instruction.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.summary import TITLE

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "amx_bf16": ("amx", "AMX"),
    "avx512_bf16": ("avx512-bf16", "AVX-512 with bfloat16"),
    "avx512_vnni": ("avx512-vnni", "AVX-512 with VNNI"),
    "avx512f": ("avx512", "AVX-512"),
    "avx2": ("avx2", "AVX2"),
}
_OTHER: Final = ("other", "other instructions")
_MADE: Final = "<!-- Made by `make bench`; run it again instead of editing. -->"


def kind(cpu_flags: Iterable[str]) -> str:
    """Return the file name, without ending, of the page for a processor."""
    flags = set(cpu_flags)
    return next((name for flag, (name, _) in _KINDS.items() if flag in flags), _OTHER[0])


def heading(kind: str) -> str:
    """Return how a kind of processor is called."""
    return dict([*_KINDS.values(), _OTHER])[kind]


def page_lines(kind: str, lines: Sequence[str]) -> list[str]:
    """Return a whole page."""
    return [_MADE, "", f"# Benchmarks: {heading(kind)}", "", *lines]


def index_lines(folder: Path) -> list[str]:
    """Return docs/benchmarks.md: of each page in a folder its kind of processor, and what it comes to."""
    lines = [
        _MADE,
        "",
        "# Benchmarks",
        "",
        "Headrace beside other ways to run the same model on the same texts. What is fastest depends on the",
        "instructions that a processor has, so there is a page for each kind that was measured; `make bench` measures",
        "yours.",
    ]
    for name, title in [*_KINDS.values(), _OTHER]:
        page = folder / f"{name}.md"
        if page.is_file():
            lines += ["", f"## [{title}]({folder.name}/{name}.md)", "", *_section(page, TITLE)]
    return lines


def _section(page: Path, title: str) -> list[str]:
    """Return the table under a title of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(f"| {title} |")), len(lines))
    end = next((number for number in range(start, len(lines)) if not lines[number]), len(lines))
    return lines[start:end]
