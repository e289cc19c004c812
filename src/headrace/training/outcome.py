"""What a recipe gives back: a trained model, and what it measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Savable(Protocol):
    """A model that can write itself, as those of transformers can."""

    def save_pretrained(self, folder: Path, /) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder that is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trained model.

    Attributes:
        metrics: On the examples that were held back, the leading one first.
        examples: How many were learned from, and how many held back.
        labels: Of a classifier, in the order of its scores.
        confusion: How often each label (row) was taken for each (column).
        files: JSON files that belong to the checkpoint beside those of transformers, by name.
    """

    model: Savable
    metrics: Mapping[str, float]
    examples: tuple[int, int]
    labels: Sequence[str] = field(default=())
    confusion: NDArray[np.int64] | None = None
    files: Mapping[str, Any] = field(default_factory=dict)
