"""What the file system refuses, as an error that names the path, the cause and the remedy."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headrace.errors import StoreUnusable

_READ: Final = "let this user read it and the folders above it, or choose another --home"
_WRITE: Final = "let this user write there, free some space, or choose another --home"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate what the file system refuses while the store is read.

    Args:
        path: Named where the system names no file.

    Raises:
        StoreUnusable: It refused; an error that is no ``OSError`` passes unchanged.
    """
    try:
        yield
    except OSError as error:
        raise _refused("read", path, error, _READ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate what the file system refuses while the store is written; as ``reading``.

    Raises:
        StoreUnusable: It refused, as a full or read-only disk does.
    """
    try:
        yield
    except OSError as error:
        raise _refused("write to", path, error, _WRITE) from error


@contextmanager
def filling(path: Path) -> Iterator[None]:
    """Translate a full disk alone, while others fill a folder: what else they meet is theirs to tell.

    Raises:
        StoreUnusable: The disk has no room, or became read-only.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _refused("write to", path, error, _WRITE) from error


def flush(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(verb: str, path: Path, error: OSError, remedy: str) -> StoreUnusable:
    return StoreUnusable(f"cannot {verb} {error.filename or path}: {error.strerror or type(error).__name__}; {remedy}")
