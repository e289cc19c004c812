"""What models give as tensors: numbers as FP32, and what has no fixed shape as JSON in BYTES."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
import orjson

from headrace.api.tensors import OutputTensor
from headrace.models.manifest import Manifest
from headrace.tasks import spell
from headrace.types import Classification, Embedding, ModelTask, Ranking, Regression, Result

_VARIES: Final = -1


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that a model gives.

    Attributes:
        make: Returns the data of one text: a number, a text, or a row of them.
        columns: Of its rows, of a model; nothing if it has none.
    """

    name: str
    datatype: Literal["FP32", "BYTES"]
    make: Callable[[Result], Any]
    columns: Callable[[Manifest], int] | None = None

    def tensor(self, results: Sequence[Result]) -> OutputTensor:
        """Return it for the results of texts, in their order."""
        made = [self.make(result) for result in results]
        shape = (len(made),) if self.columns is None else (len(made), len(made[0]))
        if self.datatype == "FP32":
            return OutputTensor(self.name, self.datatype, shape, np.array(made, np.float32).ravel())
        texts = made if self.columns is None else [text for row in made for text in row]
        return OutputTensor(self.name, self.datatype, shape, texts)

    def describe(self, manifest: Manifest) -> dict[str, Any]:
        """Return it as metadata."""
        shape = [_VARIES] if self.columns is None else [_VARIES, self.columns(manifest)]
        return {"name": self.name, "datatype": self.datatype, "shape": shape}


def _as_json(task: ModelTask, name: str) -> Output:
    return Output(name, "BYTES", lambda result: orjson.dumps(spell(task, result)[name]).decode())


def _labels(columns: Callable[[Manifest], int]) -> tuple[Output, ...]:
    """Return labels and their scores, of each text the best first."""
    return (
        Output("labels", "BYTES", lambda one: [each.name for each in cast("Classification", one).labels], columns),
        Output("scores", "FP32", lambda one: [each.score for each in cast("Classification", one).labels], columns),
    )


OUTPUTS: Final[Mapping[ModelTask, tuple[Output, ...]]] = {
    "answer": (_as_json("answer", "answers"),),
    "classify": _labels(lambda manifest: len(manifest.labels)),
    "embed": (
        Output("embedding", "FP32", lambda one: cast("Embedding", one).values, lambda manifest: manifest.dimensions),
    ),
    "extract": (_as_json("extract", "entities"),),
    "fill": (_as_json("fill", "masks"),),
    "regress": (Output("value", "FP32", lambda one: cast("Regression", one).value),),
    "rerank": (Output("scores", "FP32", lambda one: cast("Ranking", one).score),),
    "zeroshot": _labels(lambda _: _VARIES),
}
"""By what a model does."""
