"""What training a model needs beside what serving needs."""

from typing import Final

from headrace.errors import DependencyMissing
from headrace.export.needs import missing

TRAINING: Final = ("torch", "transformers", "safetensors", "onnx", "matplotlib")


def require_training() -> None:
    """Check that the extra ``train`` is installed, before PyTorch is loaded.

    Raises:
        DependencyMissing: It is not; the message says how to install it.
    """
    if lacking := missing(TRAINING):
        raise DependencyMissing(f"training needs {', '.join(lacking)}; run: pip install 'headrace[train]'")
