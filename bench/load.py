"""The benchmark's end of the load generator: which texts a load sends, and to whom."""

import contextlib
import itertools
import json
import random
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
# Above it the generator and the server fight for the cores, and the load is no longer the one that was asked for.
MAX_RATE_PER_S: Final = 4000.0
SHORT_TOKENS: Final = range(6, 17)
_SHORT_COUNT: Final = 200
_LONG_COUNT: Final = 100
_MINGLED_COUNT: Final = 20_000  # a closed loop of 5 s at the greatest rate; an open one starts over
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
        seed: Of the draw of their times.
    """

    rate_per_s: float
    duration_s: float
    goal_s: float
    limit_s: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """Sends texts to one server.

    Attributes:
        headers: Those of every request, such as a key.
    """

    generator: Worker
    running: Running
    headers: Mapping[str, str] = field(default_factory=dict)

    def closed(self, texts: Texts, *, per_request: int, clients: int, most_s: float | None = None) -> dict[str, Any]:
        """Keep clients busy until all texts are answered; returns figures as `bench.generator` names them.

        Args:
            texts: What is sent, each once.
            per_request: Texts in a request.
            clients: Each waits for its answer before it asks again.
            most_s: If given, nothing is sent after so many seconds.
        """
        target = self._target(texts, per_request, REQUEST_LIMIT_S)
        return self.generator.ask("closed", within_s=_LOAD_LIMIT_S, clients=clients, most_s=most_s, **target)

    def open(
        self, texts: Texts, arrivals: Arrivals, *, per_request: int, short_tokens: int | None = None
    ) -> dict[str, Any]:
        """Send requests at a rate, whatever the server does; the texts come again and again, in their order.

        A server that can be told how long its callers wait is told the goal.

        Args:
            texts: What is sent.
            arrivals: When.
            per_request: Texts in a request.
            short_tokens: If given, there are also figures of the requests of at most so many tokens, and of the others.
        """
        load = {
            "rate_per_s": arrivals.rate_per_s,
            "duration_s": arrivals.duration_s,
            "seed": arrivals.seed,
            "goal_s": arrivals.goal_s,
            "short_tokens": short_tokens,
        }
        header = self.running.server.timeout_header
        target = self._target(texts, per_request, arrivals.limit_s)
        if header is not None:
            target["headers"] = {**self.headers, header: f"{arrivals.goal_s:g}"}
        return self.generator.ask("open", within_s=_LOAD_LIMIT_S, **load, **target)

    def vectors(self, texts: Texts, target: Path) -> None:
        """Write the vectors that the server gives for the texts."""
        asked = self._target(texts, 32, REQUEST_LIMIT_S)
        self.generator.ask("vectors", within_s=_LOAD_LIMIT_S, answers=str(target), **asked)

    def _target(self, texts: Texts, per_request: int, limit_s: float) -> dict[str, Any]:
        server = self.running.server
        files = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(texts).items()}
        place = {"port": self.running.port, "path": server.path, "dialect": server.dialect}
        told = {"per_request": per_request, "limit_s": limit_s, "headers": dict(self.headers)}
        return {**place, **files, **told}


def probe(running: Running, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request with one short text."""
    body = request_body(running.server.dialect, [_PROBE_TEXT])
    return http_request(running.port, running.server.path, body, headers or {})


def first(mix: Mix, count: int) -> Texts:
    """Return the first texts of the mix."""
    tokens = mix.path.with_suffix(".tokens.json")
    tokens.write_text(json.dumps([text.tokens for text in mix.texts]), encoding="utf-8")
    return Texts(mix.path, tokens, min(count, len(mix.texts)))


def short(mix: Mix) -> Texts:
    """Return short texts, such as search queries."""
    return _write(_short(mix)[:_SHORT_COUNT], cache_folder() / "texts/short.jsonl")


def mingled(mix: Mix, window: int, long_share: float, seed: int) -> Texts:
    """Return all short texts, again and again in their order, with texts of the whole window strewn among them.

    Args:
        mix: The texts to choose from.
        window: Most tokens of a text.
        long_share: Long texts, as a share of all; each place has one with this probability.
        seed: Of the draw of their places.

    Raises:
        ValueError: The mix has no short texts or no long ones.
    """
    found = {"short": _short(mix), "long": _long(mix, window)}
    if not all(found.values()):
        counts = " and ".join(f"{len(texts)} {name}" for name, texts in found.items())
        raise ValueError(f"short and long texts are wanted, and of {len(mix.texts)} texts {counts} ones are there")
    short_ones, long_ones = map(itertools.cycle, found.values())
    chooser = random.Random(f"places {seed}")  # not the draws of the arrivals: long ones would all follow closely
    chosen = [next(long_ones if chooser.random() < long_share else short_ones) for _ in range(_MINGLED_COUNT)]
    return _write(chosen, cache_folder() / f"texts/mingled-{long_share:g}.jsonl")


def _short(mix: Mix) -> list[Text]:
    return [text for text in mix.texts if text.tokens in SHORT_TOKENS]


def _long(mix: Mix, window: int) -> list[Text]:
    """Return texts that go little over the window: the longest have 20 times its characters, all to be tokenized."""
    chosen = [text for text in mix.texts if text.tokens == window]
    return sorted(chosen, key=lambda text: len(text.text))[:_LONG_COUNT]


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
