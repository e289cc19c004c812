"""How many texts may wait for one model: the bound that keeps memory and waiting times finite."""

from typing import Final

from headrace.errors import QueueFull, RequestTooLarge

_UNKNOWN_WAIT_S: Final = 1.0  # told to a refused caller before any batch was measured


class Admission:
    """Counts texts in and out. Single owner: the event loop.

    Args:
        model: Name for the messages.
        max_texts: Most texts inside at a time.
    """

    def __init__(self, model: str, max_texts: int) -> None:
        self._model = model
        self._max_texts = max_texts
        self._texts = 0

    @property
    def texts(self) -> int:
        """Texts inside."""
        return self._texts

    def enter(self, texts: int, texts_per_s: float | None) -> None:
        """Let texts in, before any work is spent on them.

        Args:
            texts: How many.
            texts_per_s: Rate at which texts leave, if it is known.

        Raises:
            QueueFull: There is no room now; says when there will be.
            RequestTooLarge: There is never room for so many.
        """
        if texts > self._max_texts:
            raise RequestTooLarge(
                f"{texts} texts at once are more than the queue holds ({self._max_texts}); send fewer at once"
            )
        over = self._texts + texts - self._max_texts
        if over > 0:
            raise QueueFull(
                f"{self._texts} texts wait for {self._model!r}, at most {self._max_texts} may; ask again later",
                retry_after_s=over / texts_per_s if texts_per_s else _UNKNOWN_WAIT_S,
            )
        self._texts += texts

    def leave(self, texts: int) -> None:
        """Let texts out."""
        self._texts -= texts
