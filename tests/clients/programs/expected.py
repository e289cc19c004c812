"""What the native dialect answered, for the programs beside this one.

Each is called with: URL KEY EXPECTED_FILE GRPC_ADDRESS.
"""

import json
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

URL: Final = sys.argv[1]
KEY: Final = sys.argv[2]
GRPC: Final = sys.argv[4]
_ANSWERS: Final[dict[str, Any]] = json.loads(Path(sys.argv[3]).read_text())
OPEN_GRPC: Final[dict[str, str]] = _ANSWERS["open_grpc"]
"""Where a server without keys answers, for clients that can send none: one for each model."""
TEXTS: Final[list[str]] = _ANSWERS["texts"]
QUERY: Final[str] = _ANSWERS["query"]
TOPICS: Final[list[str]] = _ANSWERS["topics"]
LABELS: Final[list[list[dict[str, Any]]]] = [result["labels"] for result in _ANSWERS["judge"]]
RANKING: Final[list[tuple[int, float]]] = [(result["index"], result["score"]) for result in _ANSWERS["ranker"]]
ENTITIES: Final[list[list[dict[str, Any]]]] = [result["entities"] for result in _ANSWERS["tagger"]]
ANSWERS: Final[list[list[dict[str, Any]]]] = [result["answers"] for result in _ANSWERS["oracle"]]
TOPICAL: Final[list[list[dict[str, Any]]]] = [result["labels"] for result in _ANSWERS["logic"]]
Refused = TypeVar("Refused", bound=Exception)


def as_float32(vectors: list[list[float]]) -> "list[array[float]]":
    """Return vectors in the precision that they were written for: in JSON they have as many digits as that needs."""
    return [array("f", vector) for vector in vectors]


def refusal(error: type[Refused], ask: Callable[[], object]) -> Refused:
    """Return the error that a call raises."""
    try:
        ask()
    except error as refused:
        return refused
    raise AssertionError(f"{error.__name__} was not raised")


VECTORS: Final = as_float32([result["embedding"] for result in _ANSWERS["tiny"]])
