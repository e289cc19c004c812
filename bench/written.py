"""Says how large 32 embeddings are, and how long they take, written as JSON, as base64 and as bare numbers.

Usage: python -m bench.written [--rounds N]

The server has them in its memory, so that nothing is computed: what is measured is the way through the server, the wire
and the client, up to an array of NumPy. Each round asks for all three, one after the other.
"""

import argparse
import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from bench.interrupt import interrupt_on_terminate
from bench.model import prepare_model
from bench.stats import Spread, ratios, spread
from bench.tables import spell, table
from bench.texts import make_mix
from bench.trained import serving

_TEXTS: Final = 32
_ROUNDS: Final = 300
_PLAIN: Final = {"accept-encoding": "identity"}  # what compression costs is measured by itself, see decision 0040
_WARM: Final = 20
_SEED: Final = 7
_MODEL: Final = "minilm"
_HEADER: Final = ("Written as", "Bytes", "Time, ms", "Times as fast")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to ask for embeddings.

    Attributes:
        read: Returns the array, shape ``(n, d)``, float32.
    """

    title: str
    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    read: Callable[[bytes], NDArray[np.float32]]


def _read_json(data: bytes) -> NDArray[np.float32]:
    return np.array([each["embedding"] for each in json.loads(data)["results"]], np.float32)


def _read_base64(data: bytes) -> NDArray[np.float32]:
    rows = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in json.loads(data)["data"]]
    return np.stack(rows)


def _read_floats(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").reshape(_TEXTS, -1)


def ways(address: str, texts: list[str]) -> list[Way]:
    """Return the ways, the plain one first."""
    openai = address.replace("/api/v1", "/v1/embeddings")
    asked = {"model": _MODEL, "input": texts, "encoding_format": "base64", "truncate": "truncate"}
    native, accept = f"{address}/embed", {"accept": "application/octet-stream"}
    return [
        Way("JSON", native, {"inputs": texts}, {}, _read_json),
        Way("base64 in JSON, as OpenAI's client asks", openai, asked, {}, _read_base64),
        Way(
            "bare numbers, `accept: application/octet-stream`",
            f"{address}/embed",
            {"inputs": texts},
            accept,
            _read_floats,
        ),
    ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.written", description="Compare what answers are written as.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default {_ROUNDS}")
    asked = parser.parse_args()
    interrupt_on_terminate()
    model = prepare_model()
    mix = make_mix(_TEXTS, _SEED, model.folder / "tokenizer.json", model.window)
    with serving(model.home, _MODEL) as address, httpx.Client(headers=_PLAIN) as client:
        measured = ways(address, [text.text for text in mix.texts])
        arrays = [way.read(_fetch(client, way)) for way in measured]
        if not all(np.array_equal(array, arrays[0]) for array in arrays):
            raise SystemExit("the numbers are not the same; nothing was measured")
        for _ in range(_WARM):
            _time_all(client, measured)
        rounds = [_time_all(client, measured) for _ in range(asked.rounds)]
        sizes = [len(_fetch(client, way)) for way in measured]
    times = list(zip(*rounds, strict=True))
    faster = [ratios(times[0], each) for each in times]
    rows = [_row(*each) for each in zip(measured, sizes, map(spread, times), faster, strict=True)]
    print("\n".join(table(_HEADER, rows)))


def _time_all(client: httpx.Client, measured: list[Way]) -> list[float]:
    """Return the milliseconds of each way."""
    times = []
    for way in measured:
        started = time.perf_counter()
        way.read(_fetch(client, way))
        times.append((time.perf_counter() - started) * 1000)
    return times


def _fetch(client: httpx.Client, way: Way) -> bytes:
    return client.post(way.url, json=way.body, headers=way.headers).raise_for_status().content


def _row(way: Way, size: int, took: Spread, faster: Spread) -> list[str]:
    return [way.title, f"{size:,}", spell(took, 2), spell(faster, 2)]


if __name__ == "__main__":
    main()
