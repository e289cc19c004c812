"""What a store is like after its process was killed at any of the places where it changes the disk."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headrace.models.store
from headrace.models.disk import flush
from headrace.models.store import LocalStore


class Crash(BaseException):
    """Stands for the process being killed: nothing in the product catches it."""


def crash_before_step(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """Make the n-th change of the disk crash, and return what counts the changes."""
    done = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done > number:
                raise Crash  # from now on nothing reaches the disk any more, as after a kill
            return change(*args, **kwargs)

        return run

    for name in ("mkdir", "rename", "replace", "write_text", "open"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    monkeypatch.setattr(headrace.models.store, "flush", counted(flush))
    return lambda: done


def crash_everywhere(act: Callable[[], object], check: Callable[[], None], reset: Callable[[], None]) -> int:
    """Run an action once for each place where it can be cut off, and check what each leaves; return their number."""
    for number in range(200):
        reset()
        with pytest.MonkeyPatch.context() as patch:
            count = crash_before_step(patch, number)
            try:
                act()
            except Crash:
                pass
            else:
                assert count() <= number
                return number
        check()
    raise AssertionError("the action has more than 200 steps")


def make_reset(store: LocalStore, tmp_path: Path) -> Callable[[], None]:
    backup = tmp_path / "backup"
    if store.root.exists():
        shutil.copytree(store.root, backup)
    else:
        backup.mkdir()

    def reset() -> None:
        shutil.rmtree(store.root, ignore_errors=True)
        shutil.copytree(backup, store.root)

    return reset
