"""Where things are: the checkout, and the cache that holds environments, models and texts outside of it."""

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "bench/results"
INDEX: Final = ROOT / "docs/benchmarks.md"
PAGES: Final = ROOT / "docs/benchmarks"


def cache_folder() -> Path:
    """Return the folder for what the benchmarks download, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "headrace-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
