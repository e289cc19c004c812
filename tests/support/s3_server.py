"""An S3 server on this machine, made of moto, that compares checksums as S3 does and can be told to misbehave."""

import base64
import hashlib
import io
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Environ = dict[str, Any]
Start = Callable[..., Any]
_COUNT = itertools.count()


@dataclass(frozen=True)
class Reply:
    """What the server answers instead of asking moto.

    Attributes:
        body: Its bytes.
        length: What it says is their number, if another one; it then closes the connection.
    """

    status: int = 200
    body: bytes = b""
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class S3Server:
    """The server, one bucket of it, and what was asked of it.

    Attributes:
        requests: Method, path and query of what was asked.
        tamper: Given the same, returns the reply; nothing lets moto answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.hung_up = threading.Event()
        self.bucket = ""
        self._client: Any = None
        self.reset()

    def reset(self) -> None:
        """Behave well, with a new bucket."""
        self.bucket = f"bucket-{next(_COUNT)}"
        self.requests: list[str] = []
        self.tamper: Callable[[str], Reply | None] = lambda _request: None
        self.hung_up.clear()

    @property
    def address(self) -> str:
        """What to push to."""
        return f"s3://{self.bucket}/models"

    @property
    def client(self) -> Any:
        """A client that changes what was pushed."""
        if self._client is None:
            self._client = boto3.Session().client("s3", endpoint_url=self.url)
        return self._client

    def objects(self) -> list[str]:
        """Return the names of all objects."""
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def overwrite(self, key: str, data: bytes | None) -> None:
        """Put other bytes into an object, or remove it if there are none."""
        if data is None:
            self.client.delete_object(Bucket=self.bucket, Key=key)
        else:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def hang(self) -> None:
        """Answer nothing until the test is over."""
        self.hung_up.wait(60)

    def answer(self, request: str, environ: Environ) -> Reply | None:
        """Return what is answered instead of moto's answer, if anything."""
        self.requests.append(request)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        given = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if given is not None and given != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return Reply(400, b"<Error><Code>BadDigest</Code></Error>")
        return self.tamper(request)


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Serve in a thread until the context ends."""
    moto = create_backend_app("s3")
    alone = threading.Lock()

    def serve(environ: Environ, start: Start) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}" + (f"?{query}" if query else "")
        reply = running.answer(request, environ)
        if reply is None:
            with alone:  # moto answers 500 now and then if it is asked twice at the same time
                return [b"".join(moto(environ, start))]
        length = len(reply.body) if reply.length is None else reply.length
        start(f"{reply.status} -", [("Content-Length", str(length)), *reply.headers])
        # An answer to HEAD has no body; bytes that nobody reads make the connection end with a reset.
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]

    server = make_server("127.0.0.1", 0, serve, threaded=True, request_handler=_Quiet)
    running = S3Server(f"http://127.0.0.1:{server.port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        pass
