"""How a long list becomes requests: at most so many texts in each, of so many bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from headrace.errors import RequestInvalid
from headrace.tasks.base import name_input, name_label


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a list.

    Attributes:
        start: Index of its first text in the whole list.
        size_bytes: Of its texts, as JSON.
    """

    start: int
    texts: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may have.

    Attributes:
        max_inputs: Texts to read; of a request with labels, each text once with each label.
        max_bytes: Of what grows with the list, as JSON has it; a text that is longer goes alone.
    """

    max_inputs: int
    max_bytes: int

    def narrowed(self, field: str | None, piece: Piece, labels: int) -> "Bounds":
        """Return half of what was refused: of texts if these were too many, of bytes if nothing is said of them."""
        if field is None:
            return replace(self, max_bytes=max(1, piece.size_bytes // 2))
        return replace(self, max_inputs=max(1, len(piece.texts) * max(1, labels) // 2))

    def within(self, other: "Bounds") -> "Bounds":
        """Return the lesser of both."""
        return Bounds(min(self.max_inputs, other.max_inputs), min(self.max_bytes, other.max_bytes))


def split(texts: Sequence[str], labels: int, bounds: Callable[[], Bounds], start: int = 0) -> Iterator[Piece]:
    """Yield the parts of a list, in its order.

    Args:
        texts: The list.
        labels: How many labels each text is read with.
        bounds: Returns those of a request, which may change while the list is read.
        start: Index of its first text, if the list is itself a part of one.

    Raises:
        RequestInvalid: What is in it is no text.
    """
    piece: list[str] = []
    size = 0
    for index, text in enumerate(texts, start):
        own = measure(text, name_input(index))
        now = bounds()
        most = max(1, now.max_inputs // max(1, labels))
        if piece and (len(piece) >= most or size + own > now.max_bytes):
            yield Piece(index - len(piece), tuple(piece), size)
            piece, size = [], 0
        piece.append(text)
        size += own
    if piece:
        yield Piece(start + len(texts) - len(piece), tuple(piece), size)


def measure(text: object, name: str) -> int:
    """Return how many bytes a text is as a part of JSON.

    Raises:
        RequestInvalid: It is no text, or one that UTF-8 cannot write.
    """
    if not isinstance(text, str):
        raise RequestInvalid(f"{name} is no string but a {type(text).__name__}; send texts", field=name)
    try:
        return len(orjson.dumps(text)) + 1  # the comma
    except TypeError as error:
        raise RequestInvalid(
            f"{name} has half of a surrogate pair, which is no character; send what UTF-8 can write", field=name
        ) from error


def check_labels(labels: Sequence[str]) -> None:
    """Check what the texts may be about; raises as ``measure``."""
    for index, label in enumerate(labels):
        measure(label, name_label(index))
