"""The benchmark's end of the load generator: which texts a load sends, and to whom."""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.dialects import http_request, request_body
from bench.places import cache_folder
from bench.server import Running, ask_once, free_ports, tries
from bench.texts import Mix, Text
from bench.worker import Worker, running_worker

REQUEST_LIMIT_S: Final = 30.0
_LOAD_LIMIT_S: Final = 900.0
_TRIVIAL_LIMIT_S: Final = 20.0
_SHORT_TOKENS: Final = range(6, 17)
_SHORT_COUNT: Final = 200
_MAX_FILES: Final = 16384  # each of the generator's 4,096 connections is one, at both of its ends
_PROBE_TEXT: Final = "The water drives the wheel."


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts as the generator reads them: a file of texts, and one of their lengths."""

    texts: Path
    tokens: Path
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """An open loop: requests that come whatever the server does.

    Attributes:
        rate_per_s: Requests a second, on average.
        duration_s: How long requests are sent.
        goal_s: An answer within it is good.
        limit_s: After it nobody waits any more.
    """

    rate_per_s: float
    duration_s: float
    goal_s: float
    limit_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """Sends texts to one server."""

    generator: Worker
    running: Running

    def closed(self, texts: Texts, *, per_request: int, clients: int) -> dict[str, Any]:
        """Keep clients busy until all texts are answered; returns figures as `bench.generator` names them."""
        target = self._target(texts, per_request, REQUEST_LIMIT_S)
        return self.generator.ask("closed", within_s=_LOAD_LIMIT_S, clients=clients, **target)

    def open(self, texts: Texts, arrivals: Arrivals, *, per_request: int) -> dict[str, Any]:
        """Send requests at a rate, whatever the server does; the texts come again and again, in their order."""
        load = {
            "rate_per_s": arrivals.rate_per_s,
            "duration_s": arrivals.duration_s,
            "seed": 0,
            "goal_s": arrivals.goal_s,
        }
        target = self._target(texts, per_request, arrivals.limit_s)
        return self.generator.ask("open", within_s=_LOAD_LIMIT_S, **load, **target)

    def vectors(self, texts: Texts, target: Path) -> None:
        """Write the vectors that the server gives for the texts."""
        asked = self._target(texts, 32, REQUEST_LIMIT_S)
        self.generator.ask("vectors", within_s=_LOAD_LIMIT_S, answers=str(target), **asked)

    def _target(self, texts: Texts, per_request: int, limit_s: float) -> dict[str, Any]:
        server = self.running.server
        files = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(texts).items()}
        place = {"port": self.running.port, "path": server.path, "dialect": server.dialect}
        return {**place, **files, "per_request": per_request, "limit_s": limit_s}


def probe(running: Running) -> bytes:
    """Return a request with one short text."""
    return http_request(running.port, running.server.path, request_body(running.server.dialect, [_PROBE_TEXT]))


def first(mix: Mix, count: int) -> Texts:
    """Return the first texts of the mix."""
    tokens = mix.path.with_suffix(".tokens.json")
    tokens.write_text(json.dumps([text.tokens for text in mix.texts]), encoding="utf-8")
    return Texts(mix.path, tokens, min(count, len(mix.texts)))


def short(mix: Mix) -> Texts:
    """Return short texts, such as search queries."""
    chosen = [text for text in mix.texts if text.tokens in _SHORT_TOKENS][:_SHORT_COUNT]
    return _write(chosen, cache_folder() / "texts/short.jsonl")


def _write(texts: Sequence[Text], path: Path) -> Texts:
    path.write_text("".join(json.dumps({"text": text.text}) + "\n" for text in texts), encoding="utf-8")
    tokens = path.with_suffix(".tokens.json")
    tokens.write_text(json.dumps([text.tokens for text in texts]), encoding="utf-8")
    return Texts(path, tokens, len(texts))


@contextlib.contextmanager
def running_generator() -> Iterator[Worker]:
    """Run the load generator for the length of the block, in this environment."""
    _raise_file_limit()
    with running_worker("generator", Path(sys.executable), "bench.generator") as generator:
        yield generator


def _raise_file_limit() -> None:
    """Allow this process and those it starts, servers too, as many open connections as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def running_trivial(answer_bytes: int) -> Iterator[int]:
    """Run the server that does nothing for the length of the block; gives its port."""
    port = free_ports(1)[0]
    arguments = [str(port), str(answer_bytes)]
    with running_worker("trivial", Path(sys.executable), "bench.servers.trivial", arguments):
        for _ in tries(time.monotonic() + _TRIVIAL_LIMIT_S):
            if ask_once(port, b"GET / HTTP/1.1\r\n\r\n"):
                break
        yield port
