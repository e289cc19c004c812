"""What the Open Inference Protocol says, over REST and gRPC alike: which tensors a model takes and gives.

A model takes texts as a tensor of ``BYTES`` called ``text``, or as whatever it is called if it is the only one; a query
and labels are tensors, too. ``outputs.py`` says what comes back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from headrace.api.asked import Asked
from headrace.api.outputs import OUTPUTS
from headrace.api.schemas import Lenient
from headrace.api.tensors import OutputTensor
from headrace.errors import RequestInvalid
from headrace.models.manifest import Manifest
from headrace.options import Options, Truncate
from headrace.types import Answer, ModelTask, Ranking

EXTENSIONS: Final = ("parameters", "statistics")
"""Those of Triton's that are spoken at every door."""

# What a tensor may be called: our word first, then those of MLServer's and Triton's models.
_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "text": ("text", "args", "array_inputs", "text_input", "TEXT", "context"),
    "query": ("query", "question"),
    "labels": ("labels", "candidate_labels"),
}
_INPUTS: Final[Mapping[ModelTask, Sequence[str]]] = {
    "answer": ("text", "query"),
    "rerank": ("text", "query"),
    "zeroshot": ("text", "labels"),
}


class InferParameters(Lenient):
    """What may be chosen about a request; other parameters are not read."""

    binary_data_output: bool = Field(default=False, description="Give outputs as bytes behind the JSON.")
    truncate: Truncate = "truncate"
    normalize: bool | None = None
    dimensions: int | None = Field(default=None, ge=1)
    prompt: str | None = None

    def options(self) -> Options:
        """Return the service's words for it."""
        return Options(truncate=self.truncate, normalize=self.normalize, dimensions=self.dimensions, prompt=self.prompt)


def describe(manifest: Manifest) -> dict[str, Any]:
    """Return what a model takes and gives."""
    inputs = _INPUTS.get(manifest.task, ("text",))
    return {
        "name": manifest.name,
        "versions": [manifest.revision],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": each, "datatype": "BYTES", "shape": [1] if each == "query" else [-1]} for each in inputs],
        "outputs": [output.describe(manifest) for output in OUTPUTS[manifest.task]],
    }


def ask_model(name: str, task: ModelTask, texts: Mapping[str, tuple[str, ...]], options: Options) -> Asked:
    """Return what the service is asked with tensors of texts, by their names.

    Raises:
        RequestInvalid: They are not those that the model takes.
    """
    given = _sort(texts, task)
    asked: Asked = {"task": task, "inputs": given["text"], "model": name, "options": options}
    if "query" in given:
        asked["query"] = _one(given["query"])
    if "labels" in given:
        asked["labels"] = given["labels"]
    return asked


def choose_outputs(names: Sequence[str] | None, task: ModelTask) -> Sequence[str]:
    """Return the outputs that are wanted; all, unless some are named.

    Raises:
        RequestInvalid: The model has no such output.
    """
    known = [output.name for output in OUTPUTS[task]]
    for index, name in enumerate(names or ()):
        if name not in known:
            raise RequestInvalid(
                f"there is no output {name[:80]!r}; the model has {', '.join(known)}", field=f"outputs[{index}]"
            )
    return known if names is None else list(dict.fromkeys(names))


def make_tensors(answer: Answer, task: ModelTask, names: Sequence[str]) -> list[OutputTensor]:
    """Return outputs of an answer; a ranking in the order of its texts."""
    results = sorted(answer.results, key=lambda each: each.index if isinstance(each, Ranking) else 0)
    outputs = {output.name: output for output in OUTPUTS[task]}
    return [outputs[name].tensor(results) for name in names]


def _sort(texts: Mapping[str, tuple[str, ...]], task: ModelTask) -> dict[str, tuple[str, ...]]:
    """Return texts by our names for what they are; of a task that reads one tensor it may have any name."""
    needed = _INPUTS.get(task, ("text",))
    if len(needed) == len(texts) == 1:
        return {"text": next(iter(texts.values()))}
    found = {role: [texts[name] for name in _NAMES[role] if name in texts] for role in needed}
    if len(texts) != len(needed) or any(len(named) != 1 for named in found.values()):
        got = ", ".join(map(repr, texts))[:200] or "none"
        raise RequestInvalid(
            f"{task!r} needs inputs called {' and '.join(map(repr, needed))}; got {got}", field="inputs"
        )
    return {role: named[0] for role, named in found.items()}


def _one(texts: tuple[str, ...]) -> str:
    if len(texts) != 1:
        raise RequestInvalid(f"there are {len(texts)} queries; send one, and a request for each", field="inputs")
    return texts[0]
