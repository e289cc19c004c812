"""The program of ``apart``: converts one checkpoint and ends. It is no command for people.

Before anything that could read a foreign file is even imported, the process gives up the network. It loads its
libraries while the files are still on their way, and has limits before it reads them.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_CLONE_NEWUSER: Final = 0x10000000  # unshare(2)
_CLONE_NEWNET: Final = 0x40000000


class Lines:
    """Says what happens, one JSON object on a line.

    Args:
        handle: Where to write.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def say(self, about: str, **fields: Any) -> None:
        """Write a line."""
        os.write(self._handle, json.dumps({"about": about, **fields}).encode() + b"\n")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say that a step begins; as every ``Progress``."""
        self.say("step", text=text)
        yield

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Say nothing: nothing is downloaded here."""


def leave_network() -> None:
    """Give up the network, and end with the process that started this one.

    A network of its own, which has no way out, needs a kernel that lets a user have one; where it does not, the process
    has that of its parent and no code that would use it.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Root would lose the right to read what belongs to others.
        libc.unshare(_CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET)


def limit(bounds: Mapping[str, int]) -> None:
    """Give up what is over the limits."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, bounds["processor_s"]),
        (resource.RLIMIT_DATA, bounds["memory_bytes"]),
        (resource.RLIMIT_FSIZE, bounds["file_bytes"]),
    ):
        with suppress(ValueError, OSError):  # it is lower already
            resource.setrlimit(kind, (value, value))


def main() -> None:
    """Read an order, carry it out, and say what came of it."""
    answers = Lines(os.dup(1))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # what a library prints is no answer
    leave_network()
    try:
        _load_libraries()
        order = json.load(sys.stdin)
        limit(order["bounds"])
        answers.say("done", manifest=_convert(order, answers))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        _tell(answers, error)


def _load_libraries() -> None:
    """Load what every import needs, which takes longer than to convert a small model."""
    from headrace.engine import onnx  # noqa: F401, PLC0415 - without a network
    from headrace.export import builder, conversion  # noqa: F401, PLC0415 - as above


def _convert(order: Mapping[str, Any], answers: Lines) -> str:
    from headrace.export.conversion import Order, convert_here  # noqa: PLC0415 - after it was confined
    from headrace.export.gate import GateLimits  # noqa: PLC0415 - as above
    from headrace.models.sources.base import Source, SourceSpec  # noqa: PLC0415 - as above

    source = Source(spec=SourceSpec(**order["spec"]), folder=Path(order["folder"]), revision=order["revision"])
    wanted = Order(source=source, name=order["name"], draft=Path(order["draft"]), limits=GateLimits(**order["gate"]))
    return convert_here(wanted, answers).model_dump_json()


def _tell(answers: Lines, error: Exception) -> None:
    from headrace.errors import HeadraceError, SourceInvalid  # noqa: PLC0415 - as above

    if isinstance(error, MemoryError):
        error = SourceInvalid("the checkpoint cannot be read: it needs more memory than an import may use")
    if isinstance(error, HeadraceError):
        answers.say("refused", code=error.code, message=error.message, field=error.field)
    elif isinstance(error, OSError) and error.errno is not None:
        answers.say("system", number=error.errno, text=error.strerror, file=str(error.filename or ""))
    else:
        answers.say("failed", text="".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main()
