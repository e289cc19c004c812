"""Weights that stay in their file: arrays over a mapping of it instead of copies in memory."""

import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PROBE_BYTES: Final = 256  # what is searched for; the whole is compared where it is found


class MappedFile:
    """A file that is in memory only as far as it is looked at.

    Its pages are clean: processes that map the same file share them, and the kernel takes them back when it needs
    memory. The file must not be written to or shortened meanwhile; to be renamed or removed does it no harm.

    Args:
        path: A file that is not empty.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            # Writable, as OpenVINO takes nothing else; what would be written stays in this process.
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._found_end = 0

    def find(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Return the same array as a view of the file, or nothing if the file does not hold its bytes.

        The format of the file does not matter, and what is found was compared byte for byte, so no file can make this
        give another array. The view may be unaligned, and keeps the mapping alive.

        Args:
            array: Contiguous; of arrays in the order of the file each is found at once.
        """
        content = array.reshape(-1).view(np.uint8)
        probe = content[:_PROBE_BYTES].tobytes()
        for start in (self._found_end, 0):
            offset = self._mapping.find(probe, start)
            if offset >= 0 and self._holds(content, offset):
                self._found_end = offset + content.size
                return np.frombuffer(self._mapping, array.dtype, array.size, offset).reshape(array.shape)
        return None

    def _holds(self, content: NDArray[np.uint8], offset: int) -> bool:
        size = min(content.size, len(self._mapping) - offset)
        return np.array_equal(np.frombuffer(self._mapping, np.uint8, size, offset), content)

    def drop(self) -> None:
        """Give all pages back; what is looked at again comes from the kernel's cache of the file, or the disk."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
