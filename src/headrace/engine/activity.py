"""What an engine's process is working on, in memory that outlives the process.

A message would be too late: it can wait in a buffer of the process that dies. Here the thread that is about to
call native code writes the numbers of its texts into memory shared with the supervisor, some 5 µs for a batch, and
the supervisor reads them after the crash, or to see whether a batch hangs.

Layout: one row of int64 for each slot: when it began (ns on the monotonic clock, which all processes of a machine
share), tokens, number of texts, then their numbers. A slot that works on nothing has no texts.
"""

import contextlib
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_BEGAN, _TOKENS, _COUNT, _HEAD = range(4)
_CELL_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Running:
    """What one slot works on.

    Attributes:
        began_at: Point on the monotonic clock.
        tokens: Most tokens it can be, padding included.
        texts: Numbers of the texts.
    """

    began_at: float
    tokens: int
    texts: tuple[int, ...]


class Activity:
    """Rows in shared memory; the engine's threads write, one to each row, and the supervisor reads.

    Args:
        handle: File descriptor of the memory; stays open as long as this lives.
        slots: Rows, one for each thread that calls native code.
        max_texts: Most texts of one batch.
    """

    def __init__(self, handle: int, slots: int, max_texts: int) -> None:
        self.handle = handle
        self.slots = slots
        self.max_texts = max_texts
        self._memory = mmap.mmap(handle, slots * (_HEAD + max_texts) * _CELL_BYTES)
        self._rows = np.frombuffer(self._memory, dtype=np.int64).reshape(slots, _HEAD + max_texts)

    @contextlib.contextmanager
    def watch(self, slot: int, texts: Sequence[int], tokens: int) -> Iterator[None]:
        """Show these texts as running while the context lasts; a ``Watch`` of the engine."""
        row = self._rows[slot]
        row[_HEAD : _HEAD + len(texts)] = texts
        row[_BEGAN], row[_TOKENS] = time.monotonic_ns(), tokens
        row[_COUNT] = len(texts)  # last: from here on the row counts
        try:
            yield
        finally:
            row[_COUNT] = 0

    def read(self) -> list[Running]:
        """Return what runs, slot by slot."""
        return [
            Running(int(row[_BEGAN]) / 1e9, int(row[_TOKENS]), tuple(row[_HEAD : _HEAD + row[_COUNT]].tolist()))
            for row in self._rows
            if row[_COUNT]
        ]

    def clear(self) -> None:
        """Forget what ran."""
        self._rows[:, _COUNT] = 0

    def close(self) -> None:
        """Give the memory back; may be called twice."""
        if not self._memory.closed:
            del self._rows  # the memory cannot be unmapped while an array looks at it
            self._memory.close()
            os.close(self.handle)


def make_activity(slots: int, max_texts: int) -> Activity:
    """Return an empty one, in memory that has no name: only a process that is given its descriptor can open it.

    Pages take memory when they are written, so room for the largest batch costs nothing.
    """
    size = slots * (_HEAD + max_texts) * _CELL_BYTES
    if sys.platform == "linux":
        handle = os.memfd_create("headrace-activity")
    else:  # elsewhere a file that is deleted already is the next best
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return Activity(handle, slots, max_texts)
