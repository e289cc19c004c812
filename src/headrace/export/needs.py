"""What importing a model needs beside what serving needs."""

import importlib.util
from collections.abc import Sequence
from typing import Final

from headrace.errors import DependencyMissing

BUILDING: Final = ("onnx",)
"""For the families whose graph is built directly: the extra ``import``."""

TRACING: Final = ("torch", "transformers", "onnx", "onnxscript", "safetensors")
"""For all others: the extra ``export``."""


def missing(packages: Sequence[str]) -> list[str]:
    """Return those of some packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def require(packages: Sequence[str], extra: str, what: str = "a model") -> None:
    """Check that packages are installed, if possible before anything is downloaded.

    Args:
        packages: By the names they are imported with.
        extra: What installs them.
        what: What is to be imported.

    Raises:
        DependencyMissing: One is not; the message says how to install it.
    """
    if lacking := missing(packages):
        raise DependencyMissing(
            f"importing {what} needs {', '.join(lacking)}; run: pip install 'headrace[{extra}]' (serving needs none)"
        )
