"""Takes an encoder's weights out of a checkpoint, each of them checked.

transformers makes up what is missing and drops what it does not know; a checkpoint that is not whole is refused here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from headrace.errors import SourceInvalid
from headrace.export.architecture import Linear, Norm
from headrace.types import FloatArray

Weights = Mapping[str, FloatArray]

_TYPE_ROWS: Final = "embeddings.token_type_embeddings.weight"

EPSILON: Final = 1e-12
"""What keeps a layer norm from dividing by zero, where a configuration does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes that a configuration names; ``words`` is the width of the embeddings."""

    hidden: int
    inner: int
    layers: int
    heads: int
    words: int

    @classmethod
    def of(cls, config: Mapping[str, Any], *, hidden: str, inner: str, layers: str, heads: str) -> Self:
        """Read the sizes under the names that a family has for them.

        Raises:
            SourceInvalid: One is missing or no size.
        """
        sizes = cls(
            hidden=_size(config, hidden),
            inner=_size(config, inner),
            layers=_size(config, layers),
            heads=_size(config, heads),
            words=_size(config, "embedding_size" if "embedding_size" in config else hidden),  # ELECTRA has its own
        )
        if sizes.hidden % sizes.heads:
            raise SourceInvalid(
                f"config.json has {hidden} {sizes.hidden}, which {sizes.heads} heads cannot share", field=hidden
            )
        return sizes


def _size(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise SourceInvalid(f"config.json has {key} {value!r}, which is no size; download it again", field=key)
    return value


@dataclass(frozen=True, slots=True)
class Reader:
    """Takes weights by name, and looks at each before it is used.

    Attributes:
        weights: All of a checkpoint, by their names within the encoder.
        max_tokens: The window.
        reads_pairs: Whether the model is given two texts at a time.
        used: Names of those that were taken.
    """

    config: Mapping[str, Any]
    weights: Weights
    max_tokens: int
    sizes: Sizes
    reads_pairs: bool = False
    used: set[str] = field(default_factory=set)

    def tensor(self, name: str, *shape: int | None) -> FloatArray:
        """Return a weight of a shape, in which None stands for any length.

        Raises:
            SourceInvalid: It is missing, of another shape, or holds NaN.
        """
        found = self.weights.get(name)
        if found is None:
            raise SourceInvalid(
                f"the weights lack {name!r}, which config.json asks for; download the checkpoint again", field=name
            )
        if len(found.shape) != len(shape) or any(
            wanted not in {None, length} for wanted, length in zip(shape, found.shape, strict=True)
        ):
            wanted = " x ".join("any" if length is None else str(length) for length in shape)
            raise SourceInvalid(
                f"{name!r} is {' x '.join(map(str, found.shape))} and config.json asks for {wanted}; the files do not"
                " belong together",
                field=name,
            )
        if not np.isfinite(found).all():
            raise SourceInvalid(f"{name!r} holds NaN or infinity; train or download the model again", field=name)
        self.used.add(name)
        return found

    def linear(self, name: str, rows: int, columns: int) -> Linear:
        """PyTorch keeps a weight as ``(out, in)``; a product of rows wants ``(in, out)``."""
        weight = self.tensor(f"{name}.weight", columns, rows).T
        return Linear(weight=weight, bias=self.tensor(f"{name}.bias", columns))

    def norm(self, name: str, width: int | None = None) -> Norm:
        """Return a layer norm, by default as wide as the layers."""
        width = width or self.sizes.hidden
        return Norm(scale=self.tensor(f"{name}.weight", width), shift=self.tensor(f"{name}.bias", width))

    def words(self) -> FloatArray:
        """Return the word rows."""
        return self.tensor("embeddings.word_embeddings.weight", None, self.sizes.words)

    def positions(self, first: int) -> FloatArray:
        """Return the position rows from the first one used, with the row of token type 0 where there are types."""
        name = "embeddings.position_embeddings.weight"
        rows = self.tensor(name, None, self.sizes.words)[first : first + self.max_tokens]
        if len(rows) < self.max_tokens:
            raise SourceInvalid(f"{name!r} has no row for {self.max_tokens} tokens; the files do not belong together")
        return rows + self.tensor(_TYPE_ROWS, None, self.sizes.words)[0] if _TYPE_ROWS in self.weights else rows

    def segment(self) -> FloatArray | None:
        """Return how far the row of token type 1 is from that of type 0, if there are both and pairs are read."""
        if not self.reads_pairs or _TYPE_ROWS not in self.weights:
            return None
        types = self.tensor(_TYPE_ROWS, None, self.sizes.words)
        return types[1] - types[0] if len(types) > 1 else None

    @property
    def epsilon(self) -> float:
        """What keeps a layer norm from dividing by zero."""
        return float(self._number("layer_norm_eps", EPSILON))

    @property
    def first_position(self) -> int:
        """The row of the first token, where positions are numbered from the padding id on."""
        return int(self._number("pad_token_id", 1)) + 1

    def _number(self, key: str, default: float) -> float:
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise SourceInvalid(f"config.json has {key} {value!r}, which is no number; download it again", field=key)
        return value
