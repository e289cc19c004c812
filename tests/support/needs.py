"""What a test needs of the machine."""

from typing import Any

import pytest

from headrace.engine.plan import Precision, precisions
from headrace.machine import read_machine

_NATIVE = precisions("native", read_machine())

native = pytest.mark.skipif(not _NATIVE, reason="this processor has no AVX2")


def kernels(*names: Precision) -> list[Any]:
    """Return precisions of the native runtime as parameters; those that this processor does not have are skipped."""
    return [pytest.param(name, marks=kernel(name)) for name in names]


def kernel(name: Precision) -> pytest.MarkDecorator:
    """Return the mark of a test that needs a precision of the native runtime."""
    return pytest.mark.skipif(name not in _NATIVE, reason=f"this processor has no kernels for {name}")
