"""Converts a checkpoint in a process of its own, which is thrown away afterwards.

Files from elsewhere are parsed there: a crash ends that process, not ours; it has limits on memory, time and the size
of files, and no network. The order goes in as JSON, and what it has to say comes back line by line.
"""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from headrace.errors import HeadraceError, SourceInvalid, errors_by_code
from headrace.export.conversion import Order
from headrace.machine import read_machine
from headrace.models.manifest import Manifest, parse_manifest
from headrace.models.sources.base import Progress

# -P: the folder a command happens to be started in is no place to import from.
_COMMAND: Final = (sys.executable, "-P", "-m", "headrace.export.workshop")
# Loading onnx, its runtime and PyTorch takes 1 GiB; the weights are in memory as they were, as float32, transposed, in
# the graph, and in the runtime that is compared with them.
_BASE_BYTES: Final = 3 << 30
_COPIES: Final = 10
_PROCESSOR_LIMIT_S: Final = 3600
_FILE_LIMIT_BYTES: Final = 4 << 30  # protobuf holds 2 GiB, and nothing that is written is larger


@contextlib.contextmanager
def converting_apart() -> Iterator[Callable[[Order, Progress], Manifest]]:
    """Start the process, which loads its libraries meanwhile, and give what hands it one order; as ``convert_here``.

    What is given raises:
        SourceInvalid: The process ended without an answer: the files made it crash, or need more than it may use.
        ModelError: As of ``convert_here``.
        DependencyMissing: As of ``convert_here``.
    """
    with subprocess.Popen(  # noqa: S603 - our own program
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what libraries print helps nobody here
        encoding="utf-8",
    ) as process:
        try:
            yield partial(_convert, process)
        finally:
            process.kill()


def _convert(process: "subprocess.Popen[str]", order: Order, progress: Progress) -> Manifest:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    with contextlib.suppress(BrokenPipeError):  # it died: how, its end says
        process.stdin.write(json.dumps(_spell(order)))
        process.stdin.close()
    return _follow(process.stdout, progress, process)


def _spell(order: Order) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in order.source.folder.rglob("*") if path.is_file())
    return {
        "folder": str(order.source.folder),
        "revision": order.source.revision,
        "spec": asdict(order.source.spec),
        "name": order.name,
        "draft": str(order.draft),
        "gate": asdict(order.limits),
        "bounds": {
            "memory_bytes": min(read_machine().memory_bytes, _BASE_BYTES + _COPIES * size),
            "file_bytes": _FILE_LIMIT_BYTES,
            "processor_s": _PROCESSOR_LIMIT_S,
        },
    }


def _follow(lines: Iterable[str], progress: Progress, process: "subprocess.Popen[str]") -> Manifest:
    """Tell the steps as they come, and return the manifest, or raise what the process says instead."""
    with contextlib.ExitStack() as running:
        for line in lines:
            message = json.loads(line)
            match message.pop("about"):
                case "step":
                    running.close()
                    running.enter_context(progress.step(message["text"]))
                case "done":
                    return parse_manifest(message["manifest"].encode())
                case "refused":
                    raise _error(message)
                case "system":  # such as a full disk
                    raise OSError(message["number"], message["text"], message["file"])
                case _:
                    raise RuntimeError(f"the import failed in its process:\n{message['text']}")
        raise _ended(process)


def _error(fields: Mapping[str, Any]) -> HeadraceError:
    return errors_by_code().get(fields["code"], SourceInvalid)(fields["message"], field=fields["field"])


def _ended(process: "subprocess.Popen[str]") -> SourceInvalid:
    code = process.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return SourceInvalid(
        f"the checkpoint cannot be read: the process that read it ended with {how}; it may use a limited amount of"
        " memory and time, and its files may be broken",
    )
