"""Headrace through its Python service: no HTTP, everything else as a server has it."""

import argparse
import asyncio
import sys
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.workers.offline import serve
from headrace.app import open_service
from headrace.observe.logs import configure_logs
from headrace.service import Service
from headrace.settings import load_settings
from headrace.types import Caller, Embedding, Request, Scope

_CALLER: Final = Caller("bench", frozenset(Scope))
_LIMIT_S: Final = 600.0


async def embed(service: Service, texts: list[str], per_request: int, at_once: int) -> NDArray[np.float32]:
    """Embed the texts in requests of ``per_request``, ``at_once`` of them on their way at any time."""
    room = asyncio.Semaphore(at_once)

    async def ask(start: int) -> NDArray[np.float32]:
        async with room:
            answer = await service.run(
                Request(
                    task="embed",
                    inputs=tuple(texts[start : start + per_request]),
                    caller=_CALLER,
                    request_id="bench",
                    deadline=time.monotonic() + _LIMIT_S,
                )
            )
        return np.stack([result.values for result in answer.results if isinstance(result, Embedding)])

    return np.concatenate(await asyncio.gather(*(ask(start) for start in range(0, len(texts), per_request))))


def main() -> None:
    """Answer commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts")
    parser.add_argument("--home", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    # Without the cache: the same texts come in every round, and answers from memory measure nothing.
    # In this process, as `headrace embed` does: the other candidates have no second process either.
    # Nor is anybody refused: it is one caller, who waits for all of it.
    loaded = load_settings(
        {
            "store.home": asked.home,
            "cache.max_bytes": 0,
            "engine.isolation": "none",
            "engine.max_wait_s": 3600,
            "engine.precision": asked.precision,
        }
    )
    configure_logs(loaded.settings.log, sys.stderr)  # the first start says what it measured; answers go to stdout
    per_request = loaded.settings.limits.max_inputs
    at_once = max(1, loaded.settings.engine.max_queued_texts // per_request)
    with asyncio.Runner() as runner:
        opened = open_service(loaded, [asked.model], may_tune=True)
        service = runner.run(opened.__aenter__())
        try:
            serve(asked.texts, lambda texts: runner.run(embed(service, texts, per_request, at_once)))
        finally:
            runner.run(opened.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
