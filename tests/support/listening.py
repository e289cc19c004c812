"""The REST application on a port of this process, on the fake engine, for what blocks while it asks."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from tests.support.doors import KEY
from tests.support.services import service_under_test

from headrace.api.rest.app import build_app
from headrace.background import Background


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Give the URL of a server that knows ``KEY``."""
    started, stop, ports = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with service_under_test() as it:
            config = uvicorn.Config(build_app(it.context([KEY])), port=0, log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            ports.append(server.servers[0].sockets[0].getsockname()[1])
            started.set()
            await stop.wait()
            server.should_exit = True
            await running

    async def end() -> None:
        stop.set()

    loop = Background("server")
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(loop.wait, serve)
        try:
            if not started.wait(20):
                raise TimeoutError("the server did not start")
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            loop.wait(end)
            serving.result(20)
            loop.close(end)
