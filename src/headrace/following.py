"""Looks at what others may have changed, again and again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from headrace.errors import HeadraceError


class Following:
    """A look that is taken again and again; what goes wrong is told once, until it is mended or is something else.

    Args:
        look: Takes it; what was known stays if it fails.
        event: What the line in the log is called.
        same_if: Returns what is the same of two failures that are told once.
    """

    def __init__(
        self, look: Callable[[], Awaitable[None]], event: str, same_if: Callable[[HeadraceError], str]
    ) -> None:
        self._look = look
        self._event = event
        self._same_if = same_if
        self._task: asyncio.Task[None] | None = None

    def start(self, period_s: float) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._follow(period_s))

    async def aclose(self) -> None:
        """Stop, if it was begun."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self, period_s: float) -> None:
        failed = ""
        while True:
            await asyncio.sleep(period_s)
            try:
                await self._look()
                failed = ""
            except HeadraceError as error:
                if self._same_if(error) != failed:
                    structlog.get_logger().warning(self._event, reason=error.message, known="are kept")
                failed = self._same_if(error)
