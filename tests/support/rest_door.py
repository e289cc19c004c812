"""The REST server of this process, on a port of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from headrace.api.context import Context
from headrace.api.rest.app import build_app
from headrace.api.rest.server import RestServer, bind


@contextlib.asynccontextmanager
async def open_rest(context: Context) -> AsyncIterator[int]:
    """Serve, and give the port."""
    stop, started = asyncio.Event(), asyncio.Event()
    with contextlib.closing(bind(context.settings.server)) as listener:
        serving = asyncio.create_task(RestServer(build_app(context), context).run_on(listener, stop, started.set))
        await started.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            await serving
