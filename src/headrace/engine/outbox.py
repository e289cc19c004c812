"""The writing end of a stream: answers at once, facts along with them.

Every write wakes the other end, and a wake-up costs some 50 µs of both. An answer is waited for; what an engine tells
of its batches and its queue is not, so it travels with the next answer, or alone if none comes soon.
"""

import asyncio
from typing import Final

from headrace.engine.wire import Message, QueueSeen, encode

# Long enough for the answers of a batch to take along what is told of it, and short beside the batch: who is let in is
# decided by what was told, and what came 0.1 s late passed for a slow engine, then for a fast one.
_PAUSE_S: Final = 0.005


class Outbox:
    """Writes messages to a stream. Single owner: the event loop.

    What is sent before it is open waits until then. Nothing is written after it was closed.
    """

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._frames: list[bytes] = []
        self._waiting = self._told_waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.WriteTransport) -> None:
        """Begin to write."""
        self._transport = transport
        self._flush()

    def send(self, message: Message) -> None:
        """Send a message now, with what was to be told before.

        Raises:
            ValueError: It cannot be encoded.
        """
        self._frames.append(encode(message))
        self._flush()

    def tell(self, message: Message) -> None:
        """Send a message soon."""
        self._frames.append(encode(message))
        self._set_timer()

    def tell_queue(self, waiting: int) -> None:
        """Send the number of texts that wait soon; only the latest counts."""
        self._waiting = waiting
        self._set_timer()

    def close(self) -> None:
        """Write what is left and hang up; may be called twice."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting != self._told_waiting:
            self._frames.append(encode(QueueSeen(self._waiting)))
            self._told_waiting = self._waiting
        if self._transport is None or not self._frames:
            return
        frames, self._frames = self._frames, []
        if not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
