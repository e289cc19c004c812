"""Folders in the making: held by their process, and cleared away once that process is gone."""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = ".draft-"
_GRACE_S: Final = 60  # between making a folder and holding it lie microseconds, in which it looks abandoned
_MAX_AGE_S: Final = 24 * 3600  # where files cannot be locked: an import takes minutes


def draft_name() -> str:
    """Return a new name that no listing of the store shows."""
    return _PREFIX + secrets.token_hex(8)


@contextlib.contextmanager
def held_draft(root: Path) -> Iterator[Path]:
    """Make an empty folder that is held as long as the context lasts; it is not removed.

    The lock is on the folder itself and ends with the process, however that ends. It stays on the folder when that is
    renamed. Not made by ``tempfile``, whose folders no other user may read once they are published.

    Raises:
        OSError: It cannot be made.
    """
    path = root / draft_name()
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks; there its age decides
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(folder: Path, *, create: bool = False) -> Iterator[None]:
    """Hold a folder as long as the context lasts; whoever else wants to hold it waits.

    Args:
        folder: What to hold.
        create: Whether to make it if it is not there.

    Raises:
        OSError: It is not there, or cannot be made.
    """
    while True:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # as above: where there are no locks, the last one to write wins
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, folder):
                yield
                return
        finally:
            os.close(handle)  # it was removed while we waited


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def remove_abandoned(root: Path) -> None:
    """Remove the drafts whose processes ended without doing so."""
    for path in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process may be removing it, too
            if _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    age_s = time.time() - path.stat().st_mtime
    if age_s < _GRACE_S:
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # its process lives
    except OSError:
        return age_s > _MAX_AGE_S
    finally:
        os.close(handle)
    return True
