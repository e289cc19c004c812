"""Stand-ins for the hub and for a package index, which speak their protocols over real HTTP on this machine."""

import hashlib
import io
import json
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Heard:
    """A progress that remembers what it was told."""

    steps: list[str] = field(default_factory=list)
    bytes_done: list[tuple[int, int | None]] = field(default_factory=list)

    def step(self, text: str) -> AbstractContextManager[None]:
        return self._step(text)

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        self.steps.append(text)
        yield

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        self.bytes_done.append((done_bytes, total_bytes))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@dataclass
class StandIn:
    """A server whose answers a test can set.

    Attributes:
        files: Content by path of the one repository, or by file name of the index.
        commit: What the hub says ``main`` points to.
        refusal: Status and headers of every answer, if set.
        cut_off: Whether the index closes the connection in the middle of a file.
        requests: Method and path of what was asked.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    commit: str | None = COMMIT
    refusal: tuple[int, dict[str, str]] | None = None
    requests: list[str] = field(default_factory=list)
    cut_off: bool = False
    url: str = ""


def serve(stand_in: StandIn, handler: type[BaseHTTPRequestHandler]) -> Iterator[StandIn]:
    """Serve in a thread until the test ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        self.stand_in.requests.append(f"{self.command} {url.path}")
        if self.stand_in.refusal is not None:
            status, headers = self.stand_in.refusal
            self.answer(status, b"", headers)
        else:
            self.route(url.path)

    def route(self, path: str) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes, headers: dict[str, str], *, cut_off: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut_off else body)


@pytest.fixture
def hub() -> Iterator[StandIn]:
    """Serve one repository, ``org/tiny``, whose branch ``main`` and tag ``v1`` are at ``COMMIT``."""
    stand_in = StandIn()

    class Handler(_Handler):
        def route(self, path: str) -> None:
            parts = path.strip("/").split("/")
            if path in {f"/api/models/org/tiny/revision/{name}" for name in ("main", "v1", COMMIT)} | {
                "/api/models/org/tiny"
            }:
                self.json(
                    {
                        "id": "org/tiny",
                        "sha": stand_in.commit,
                        "siblings": [{"rfilename": name} for name in stand_in.files],
                    }
                )
            elif path.startswith("/api/models/org/tiny/revision/"):
                self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            elif path == f"/api/models/org/tiny/tree/{COMMIT}":
                self.json([self.entry(name, content) for name, content in stand_in.files.items()])
            elif parts[:4] == ["org", "tiny", "resolve", COMMIT] and (name := "/".join(parts[4:])) in stand_in.files:
                content = stand_in.files[name]
                etag = hashlib.sha256(content).hexdigest()
                headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
                self.answer(200, content, headers)
            else:
                self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

        def json(self, content: object) -> None:
            self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        @staticmethod
        def entry(name: str, content: bytes) -> dict[str, object]:
            return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}  # noqa: S324 - git's

    Handler.stand_in = stand_in
    yield from serve(stand_in, Handler)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Serve a package index of one project, ``tiny-model``, and have pip use nothing else."""
    stand_in = StandIn()

    class Handler(_Handler):
        def route(self, path: str) -> None:
            name = path.rpartition("/")[2]
            if path == "/simple/tiny-model/":
                links = "".join(f'<a href="/files/{file}">{file}</a>' for file in stand_in.files)
                self.answer(200, links.encode(), {"Content-Type": "text/html"})
            elif path.startswith("/files/") and name in stand_in.files:
                self.answer(200, stand_in.files[name], {}, cut_off=stand_in.cut_off)
            else:
                self.answer(404, b"", {})

    Handler.stand_in = stand_in
    for served in serve(stand_in, Handler):
        for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY", "PIP_CERT"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{served.url}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


def wheel_bytes(members: dict[str, bytes]) -> bytes:
    """Return a wheel that pip accepts, with these files in it."""
    info = "tiny_model-1.0.dist-info"
    parts = members | {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()
