"""What the front door is compared with: a route of FastAPI that does nothing, and one that asks the engine and no more.

Usage: python -m bench.servers.empty_app PORT [--home FOLDER --model NAME] [--log]

With a model there is ``POST /embed`` as well: the engine as ``headrace serve`` runs it, in its own process and by the
same plan, behind a model of pydantic and orjson. Nobody is asked who is calling, nothing is counted, limited, logged or
remembered.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import orjson
import uvicorn
import uvloop
from fastapi import FastAPI, Response
from pydantic import BaseModel

from headrace.engine.base import Engine, Job, Output
from headrace.engine.plan import make_plan, settle
from headrace.engine.plans import find_tuned
from headrace.engine.supervised import SupervisedEngine
from headrace.machine import NORMAL, read_machine
from headrace.models.store import LocalStore
from headrace.observe.base import Observers
from headrace.settings import Settings

_LIMIT_S: Final = 30.0

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Texts(BaseModel):
    """A request."""

    inputs: list[str]


def build(engine: Engine | None) -> FastAPI:
    """Return the application."""

    @contextlib.asynccontextmanager
    async def run_engine(_: FastAPI) -> AsyncIterator[None]:
        if engine is not None:
            await engine.start()
        yield
        if engine is not None:
            await engine.aclose()

    app = FastAPI(lifespan=run_engine)

    @app.post("/empty")
    async def empty() -> dict[str, Any]:
        return {}

    if engine is not None:

        @app.post("/embed")
        async def embed(request: Texts) -> Response:
            job = Job(texts=tuple(request.inputs), truncate="truncate", deadline=time.monotonic() + _LIMIT_S)
            result = await engine.run(job)
            vectors = [item.arrays["embedding"] for item in result.items if isinstance(item, Output)]
            body = orjson.dumps({"embeddings": vectors}, option=orjson.OPT_SERIALIZE_NUMPY)
            return Response(body, media_type="application/json")

    return app


def make_engine(home: Path, name: str) -> Engine:
    """Return the engine of a model as ``headrace serve`` runs it where it was tuned before."""
    settings = Settings.model_validate({"store": {"home": home}})
    folder = LocalStore(settings.store.models).open(name)
    machine = read_machine()
    tuned = find_tuned(settings.store.plans, folder.manifest, machine)
    sizes = settle(settings.engine, make_plan(settings.engine, machine, tuned.plan if tuned else None))
    program = [sys.executable, "-P", "-m", "headrace.engine_process", str(folder.path), sizes.model_dump_json()]
    return SupervisedEngine(name, [*program, settings.log.model_dump_json(), NORMAL], sizes, Observers([]))


async def serve(port: int, home: Path | None, model: str, *, has_log: bool) -> None:
    """Serve until the process is ended; with uvicorn's own line in its log for each request, or without."""
    app = build(make_engine(home, model) if home else None)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, access_log=has_log)
    await uvicorn.Server(config).serve()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--log", action="store_true")
    asked = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(asked.port, asked.home, asked.model, has_log=asked.log))


if __name__ == "__main__":
    main()
