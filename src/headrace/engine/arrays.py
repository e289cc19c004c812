"""How the arrays of many windows travel: as they lie in memory, one after the other.

All windows of a job have arrays of the same names, types and shapes, which are therefore said once: for 32 texts that
is half of the time that their answer took to write and to read.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.types import Arrays

_DTYPES: Final = frozenset({"<f2", "<f4", "<f8", "<i4", "<i8", "|b1", "|i1", "|u1"})
_MAX_AXES: Final = 4  # of one text's array; an embedding has one
_MAX_ARRAYS: Final = 64  # of one window: a graph has a few outputs; else a short header could ask for millions

_Layout = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, type and shape of each array


class ArrayWriter:
    """Gathers the arrays of windows."""

    def __init__(self) -> None:
        self._layouts: dict[_Layout, int] = {}
        self._parts: list[bytes] = []

    def add(self, arrays: Arrays) -> int:
        """Add the arrays of a window, and return the number of their layout.

        Raises:
            ValueError: One has a type that no engine gives.
        """
        little = [(name, _little(name, array)) for name, array in arrays.items()]
        self._parts.extend([array.tobytes() for _, array in little])
        layout = tuple([(name, array.dtype.str, array.shape) for name, array in little])
        return self._layouts.setdefault(layout, len(self._layouts))

    @property
    def layouts(self) -> list[_Layout]:
        """Names, types and shapes, in the order of their numbers; JSON can hold them."""
        return list(self._layouts)

    @property
    def body(self) -> bytes:
        """All arrays."""
        return b"".join(self._parts)


class ArrayReader:
    """Takes the arrays of windows out of a body, in the order in which they were added.

    They are views into it, which lives as long as the job's answer, and read-only like it.

    Args:
        layouts: Those of the writer, as they came.
        body: That of the writer.

    Raises:
        ValueError: The layouts are none. ``TypeError`` as well, from what is not even a list.
    """

    def __init__(self, layouts: Any, body: bytes) -> None:
        self._layouts = [_read_layout(layout) for layout in layouts]
        self._body = body
        self._offset = 0

    def read(self, number: Any) -> Arrays:
        """Return the arrays of the next window.

        Args:
            number: That of their layout, as it came.

        Raises:
            ValueError: It is none, or the body ends before. ``IndexError`` as well.
        """
        arrays = {}
        for name, dtype, shape, size in self._layouts[read_size(number)]:
            if self._offset + size > len(self._body):
                raise self._error()
            arrays[name] = np.ndarray(shape, dtype, self._body, self._offset)
            self._offset += size
        return arrays

    def check_end(self) -> None:
        """Make sure that nothing is left over.

        Raises:
            ValueError: The body is longer than its arrays.
        """
        if self._offset != len(self._body):
            raise self._error()

    def _error(self) -> ValueError:
        return ValueError(f"the arrays of a body of {len(self._body)} bytes do not add up to it")


def read_size(value: Any) -> int:
    """Return a length or a count that came from outside.

    Raises:
        ValueError: It is none.
    """
    if type(value) is not int or value < 0:
        raise ValueError(f"a length cannot be {value!r}")
    return value


def _little(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.str in _DTYPES:
        return array
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.str not in _DTYPES:
        raise ValueError(f"the output {name!r} has type {little.dtype.str!r}, which does not travel")
    return little


def _read_layout(described: Sequence[Any]) -> list[tuple[str, np.dtype[Any], tuple[int, ...], int]]:
    """Return name, type, shape and bytes of each array of a window."""
    if len(described) > _MAX_ARRAYS:
        raise ValueError(f"a window of {len(described)} arrays does not travel")
    layout = []
    for name, kind, shape in described:
        if kind not in _DTYPES or len(shape) > _MAX_AXES:
            raise ValueError(f"an array of type {kind!r} and {len(shape)} axes does not travel")
        dtype = np.dtype(kind)
        layout.append((str(name), dtype, tuple(shape), dtype.itemsize * math.prod(map(read_size, shape))))
    return layout
