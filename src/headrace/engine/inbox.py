"""The reading end of a stream: cuts messages out of what arrives, and gives each away at once.

Nothing stands between the socket and whoever takes a message. Streams of asyncio have a task there, which three reads
of a frame wake and put to sleep.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from headrace.engine.outbox import Outbox
from headrace.engine.wire import Message, cut


class Inbox(asyncio.Protocol):
    """Reads messages from a stream. Single owner: the event loop.

    Args:
        outbox: The writing end of the same stream: opened and closed with this one.
        take: Given every message, in order.
        end: Called once, when nothing more will come; with what was wrong if what came was no message.
    """

    def __init__(
        self, outbox: Outbox, take: Callable[[Message], None], end: Callable[[ValueError | None], None]
    ) -> None:
        self._outbox = outbox
        self._take = take
        self._end = end
        self._is_over = False
        # What arrived of a message that is not complete. It can be a gigabyte, in pieces of 64 KiB: they are joined
        # once, when there are enough of them.
        self._pieces: list[bytes] = []
        self._held = self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the other end of the stream for writing."""
        self._outbox.open(cast("asyncio.WriteTransport", transport))

    def data_received(self, data: bytes) -> None:
        """Give away the messages that are complete, and keep the rest."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return
        whole = data if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        start = self._give_away(whole)
        if start < len(whole):
            self._pieces.append(whole[start:])
        self._held = len(whole) - start

    def eof_received(self) -> None:
        """Hang up as well, also in the middle of a message."""
        self._stop(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason, it is the end
        """Tell of the end, if it is news."""
        self._stop(None)

    def _give_away(self, whole: bytes) -> int:
        """Give away the messages that bytes begin with, and return where the first incomplete one begins."""
        start = 0
        while not self._is_over:
            try:
                message, end = cut(whole, start)
            except ValueError as error:  # where one message cannot be read, the next cannot be found either
                self._stop(error)
                break
            if message is None:
                self._needed = end - start
                break
            self._take(message)
            start = end
        return start

    def _stop(self, error: ValueError | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._outbox.close()
            self._end(error)
