"""What every offline worker does: a whole list of texts in, vectors out, timed; tokenizing included.

A worker calls ``serve`` with a function from texts to an array of shape (n, d), float32.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.workers.loop import answer_commands, read_texts

Embed = Callable[[list[str]], NDArray[np.float32]]


def serve(path: str, embed: Embed) -> None:
    """Answer ``run``, ``singly`` and ``vectors`` until standard input ends."""
    texts = read_texts(path)

    def run() -> dict[str, Any]:
        used = time.process_time()
        started = time.perf_counter()
        vectors = embed(texts)
        elapsed = time.perf_counter() - started
        if len(vectors) != len(texts):
            raise ValueError(f"{len(texts)} texts went in and {len(vectors)} vectors came out")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"seconds": elapsed, "cpu_s": time.process_time() - used, "peak_rss_bytes": peak}

    def singly(short: str) -> dict[str, Any]:
        """Embed texts one after another."""
        taken = []
        for text in read_texts(short):
            started = time.perf_counter()
            embed([text])
            taken.append(time.perf_counter() - started)
        return {"p50_s": float(np.median(taken))}

    def vectors(count: int, target: str) -> dict[str, Any]:
        np.save(target, np.asarray(embed(texts[:count]), dtype=np.float32))
        return {}

    answer_commands({"run": run, "singly": singly, "vectors": vectors})
