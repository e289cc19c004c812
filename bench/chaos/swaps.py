"""The part `swaps`: the served model is switched to another version again and again under load, a fifth of them broken.

The versions are the same model with a little noise in its words, so each answers a little differently, and every answer
is compared with what its version says.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import onnx
from onnx import numpy_helper

from bench import proctree
from bench.chaos.clients import CLIENTS, LIMIT_S, answer, ask, busy
from bench.chaos.promise import Promise
from bench.dialects import Vectors, answer_vectors, http_request, request_body
from bench.http_client import Client
from bench.load import probe
from bench.model import NAME, Model
from bench.progress import say
from bench.server import Running, read_servers, running_server, wait_for_answer
from bench.stats import spread
from headrace.models.folder import GRAPH
from headrace.models.manifest import Manifest, make_manifest
from headrace.models.store import LocalStore

PART: Final = "swaps"
SWAPS: Final = 100
_VERSIONS: Final = 3
_BROKEN_EVERY: Final = 5
_NOISE: Final = 1e-3  # of the spread of the words: a cosine of 0.99999 to the original, and another answer each
_MAX_DIFFERENCE: Final = 1e-5
_MOST_MEMORY: Final = 2.1  # two versions and a tenth
_OK, _CONFLICT = 200, 409


@dataclass(slots=True)
class Seen:
    """What the clients saw.

    Attributes:
        wrong: What a client should not have seen, in words.
        by_revision: Answers of each version.
    """

    wrong: list[str] = field(default_factory=list)
    by_revision: dict[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """Requests that were answered well."""
        return sum(self.by_revision.values())


@dataclass(slots=True)
class Swapped:
    """What the switches were like."""

    took_s: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)


def run_swaps(model: Model, texts: Sequence[str], swaps: int = SWAPS) -> list[Promise]:
    """Switch the version of `headrace serve` under load."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home:
        versions = make_versions(model, Path(home))
        server = read_servers(["headrace"])[0]
        with running_server(server, replace(model, home=Path(home))) as running:
            wait_for_answer(running, probe(running))
            alone = proctree.pss_bytes(running.process.pid)
            seen, swapped = asyncio.run(_swap(running, Path(home), versions, texts, swaps))
    return promises(seen, swapped, alone)


def make_versions(model: Model, home: Path) -> list[str]:
    """Put versions of the model into another store; returns their revisions, that of the champion first."""
    store = LocalStore(home / "models")
    shutil.copytree(model.home / "models" / NAME, store.root / NAME)
    shutil.copytree(model.home / "plans", home / "plans", dirs_exist_ok=True)
    original = store.find(NAME).manifest
    revisions = [original.revision]
    for number in range(1, _VERSIONS):
        with store.draft() as draft:
            for path in model.folder.iterdir():
                if path.name != "manifest.json":
                    shutil.copy(path, draft / path.name)
            _add_noise(draft / GRAPH, number)
            stored = store.publish(draft, lambda content: _same(original, content), promote=False)
        revisions.append(stored.revision)
    return revisions


def _same(original: Manifest, content: dict[str, object]) -> Manifest:
    fields = {name: getattr(original, name) for name in Manifest.model_fields if name not in {"revision", "files"}}
    return make_manifest(**fields, **content)


def _add_noise(path: Path, seed: int) -> None:
    graph = onnx.load(path)
    words = next(each for each in graph.graph.initializer if each.name == "words")
    values = numpy_helper.to_array(words)
    noise = np.random.default_rng(seed).normal(size=values.shape).astype(np.float32) * values.std() * _NOISE
    words.CopyFrom(numpy_helper.from_array(values + noise, "words"))
    path.write_bytes(graph.SerializeToString(deterministic=True))


async def _swap(
    running: Running, home: Path, versions: Sequence[str], texts: Sequence[str], swaps: int
) -> tuple[Seen, Swapped]:
    path, dialect = running.server.path, running.server.dialect
    requests = [http_request(running.port, path, request_body(dialect, [text])) for text in texts]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=LIMIT_S) as admin:
        expected = {}
        for revision in (*versions[1:], versions[0]):
            await _promote(admin, revision)
            expected[revision] = [await answer(running, request) for request in requests]
        seen, swapped = Seen(), Swapped()

        async def turn(client: Client, number: int) -> None:
            _note(await ask(client, requests[number]), dialect, number, expected, seen)

        say(f"swaps: {swaps} of them, {CLIENTS} clients")
        async with busy(running, len(requests), turn):
            for number in range(swaps):
                target = versions[(number + 1) % len(versions)]
                await _once(admin, home, target, swapped, is_broken=number % _BROKEN_EVERY == _BROKEN_EVERY - 1)
                swapped.memory_bytes.append(proctree.pss_bytes(running.process.pid))
    return seen, swapped


async def _once(admin: httpx.AsyncClient, home: Path, target: str, swapped: Swapped, *, is_broken: bool) -> None:
    """Ask for a switch, and say what is wrong with what comes of it."""
    with _broken(home / "models" / NAME / target / GRAPH) if is_broken else contextlib.nullcontext():
        started = time.monotonic()
        reply = await _promote(admin, target)
        took_s = time.monotonic() - started
    if is_broken and reply.status_code == _CONFLICT:
        swapped.refused += 1
    elif not is_broken and reply.status_code == _OK:
        swapped.took_s.append(took_s)
    else:
        swapped.wrong.append(f"status {reply.status_code} for a version that is {'broken' if is_broken else 'whole'}")


@contextlib.contextmanager
def _broken(path: Path) -> Iterator[None]:
    """Change a byte in the middle of a file for the length of the block."""
    middle = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes([byte[0] ^ 1]))
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(middle)
            file.write(byte)


async def _promote(admin: httpx.AsyncClient, revision: str) -> httpx.Response:
    return await admin.post(f"/api/v1/models/{NAME}/promote", json={"revision": revision})


def _note(said: bytes | str, dialect: str, number: int, expected: dict[str, list[Vectors]], seen: Seen) -> None:
    """Write down what came back for a request."""
    if isinstance(said, str):
        seen.wrong.append(said)
        return
    revision = str(json.loads(said)["revision"])
    difference = float(np.abs(answer_vectors(dialect, said) - expected[revision][number]).max())
    if difference > _MAX_DIFFERENCE:
        seen.wrong.append(f"an answer of {revision[:12]} that differs from what it says by {difference:.1e}")
    else:
        seen.by_revision[revision] = seen.by_revision.get(revision, 0) + 1


def promises(seen: Seen, swapped: Swapped, alone_bytes: int) -> list[Promise]:
    """Say whether what was promised of switches holds."""
    took = spread(swapped.took_s or [0.0])
    tried = len(swapped.took_s) + swapped.refused + len(swapped.wrong)
    most = max(swapped.memory_bytes, default=0) / alone_bytes
    wrong = seen.wrong + swapped.wrong
    first = f"; the first: {wrong[0]}" if wrong else ""
    values = {
        "swaps": float(len(swapped.took_s)),
        "refused": float(swapped.refused),
        "answered": float(seen.answered),
        "failed": float(len(seen.wrong)),
        "took_min_s": took.low,
        "took_median_s": took.median,
        "took_max_s": took.high,
        "memory_ratio": most,
    }
    return [
        Promise(
            PART,
            "a switch of the version fails no request and mixes no versions",
            f"{tried} switches in {took.median:.1f} s ({took.low:.1f} to {took.high:.1f}), {swapped.refused} of them to"
            f" a broken version refused, {len(seen.wrong)} of {seen.answered + len(seen.wrong):,} requests"
            f" failed{first}",
            seen.answered > 0 and not wrong and len(seen.by_revision) == _VERSIONS,
            values,
        ),
        Promise(
            PART,
            "after a switch there is no more memory than of two versions and a tenth",
            f"{most:.2f} times that of one",
            0 < most <= _MOST_MEMORY,
        ),
    ]
