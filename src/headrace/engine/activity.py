"""What an engine's process is working on, and for whom it need not, in memory that outlives the process.

A message would be too late: it can wait in a buffer of the process that dies, or in the socket of one that is about to
compute. Here the thread that calls native code writes the numbers of its texts into memory shared with the supervisor,
some 5 µs for a batch, and the supervisor reads them after the crash, or to see whether a batch hangs. The other way
round, the supervisor writes down whose caller has left, and the thread looks there last of all.

Layout: one row of int64 for each slot: when it began (ns on the monotonic clock, which all processes of a machine
share), tokens, number of texts, then their numbers. A slot that works on nothing has no texts. Behind them one cell for
each job that may be inside, found by the job's number modulo their count: the number of the job that was given up there
last. A job of the same cell that is given up later takes it over; then the first may be computed for nobody.
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

from headrace.engine.base import split_number

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
    """Shared memory: the engine's threads write rows, one each, that the supervisor reads; for cells it is vice versa.

    Args:
        handle: File descriptor of the memory; stays open as long as this lives.
        slots: Rows, one for each thread that calls native code.
        max_texts: Most texts of one batch, and most jobs that may be inside.
    """

    def __init__(self, handle: int, slots: int, max_texts: int) -> None:
        self.handle = handle
        self.slots = slots
        self.max_texts = max_texts
        self._memory = mmap.mmap(handle, _size_bytes(slots, max_texts))
        cells = np.frombuffer(self._memory, dtype=np.int64)
        self._rows = cells[:-max_texts].reshape(slots, _HEAD + max_texts)
        self._left = cells[-max_texts:]

    @contextlib.contextmanager
    def running(self, slot: int, texts: Sequence[int], tokens: int) -> Iterator[None]:
        """Show these texts as running while the context lasts."""
        row = self._rows[slot]
        row[_HEAD : _HEAD + len(texts)] = texts
        row[_BEGAN], row[_TOKENS] = time.monotonic_ns(), tokens
        row[_COUNT] = len(texts)  # last: from here on the row counts
        try:
            yield
        finally:
            row[_COUNT] = 0

    def has_left(self, text: int) -> bool:
        """Return whether the job of a text was given up."""
        job, _ = split_number(text)
        return bool(self._left[job % self.max_texts] == job)

    def leave(self, job: int) -> None:
        """Write down that nobody waits for a job any more; nothing when it is closed, as then nothing runs."""
        if not self._memory.closed:
            self._left[job % self.max_texts] = job

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
            del self._rows, self._left  # the memory cannot be unmapped while an array looks at it
            self._memory.close()
            os.close(self.handle)


def make_activity(slots: int, max_texts: int) -> Activity:
    """Return an empty one, in memory that has no name: only a process that is given its descriptor can open it.

    Pages take memory when they are written, so room for the largest batch costs nothing.
    """
    if sys.platform == "linux":
        handle = os.memfd_create("headrace-activity")
    else:  # elsewhere a file that is deleted already is the next best
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, _size_bytes(slots, max_texts))
    return Activity(handle, slots, max_texts)


def _size_bytes(slots: int, max_texts: int) -> int:
    return (slots * (_HEAD + max_texts) + max_texts) * _CELL_BYTES
