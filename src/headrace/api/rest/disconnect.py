"""Clients that leave before they have their answer: what was begun for them ends.

ASGI tells an application that its client left when it asks. To wait for that takes a task beside each request, made,
woken and cancelled for nothing by nearly all. So our server tells: it has one ``Disconnect`` for each connection, and
work that is to end with its client is run by that.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request

T = TypeVar("T")

DISCONNECT_KEY: Final = "disconnect"
"""Under which the server leaves the connection's ``Disconnect`` in the state of a request."""


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


class Disconnect:
    """Whether the client of a connection has left, and the work that ends with it.

    Single owner: the event loop. Requests of a connection are answered one after the other.

    Args:
        abort: Ends the connection at once, whatever the client has not read yet.
    """

    __slots__ = ("_abort", "_has_happened", "_task", "_timer")

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._has_happened = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def cut_after(self, seconds: float) -> None:
        """End the connection in a while, unless it has ended by itself: a client that does not read keeps it open."""
        if not self._has_happened and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._abort)

    def happen(self) -> None:
        """Tell that the client has left; called once."""
        self._has_happened = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work, and cancel it if the client leaves.

        Raises:
            ClientLeft: The client went away; the work was cancelled.
        """
        if self._has_happened:
            work.close()
            raise ClientLeft
        task = self._task = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError as error:
            if self._task is None:  # it was cancelled here
                raise ClientLeft from error
            raise
        finally:
            if self._task is None and task is not None:
                task.uncancel()
            self._task = None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run work as long as the client waits for it, if the server tells.

    Raises:
        ClientLeft: The client went away; the work was cancelled.
    """
    disconnect: Disconnect | None = request.scope["state"].get(DISCONNECT_KEY)
    return await work if disconnect is None else await disconnect.run(work)


def cut_after(request: Request, seconds: float) -> None:
    """End a request's connection in a while, unless it has ended by itself, if the server lets one."""
    disconnect: Disconnect | None = request.scope["state"].get(DISCONNECT_KEY)
    if disconnect is not None:
        disconnect.cut_after(seconds)
