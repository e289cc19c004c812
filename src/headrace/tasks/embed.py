"""``embed``: a text becomes a vector."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.errors import RequestInvalid
from headrace.options import Options, Purpose
from headrace.tasks.base import Task, count, pack_counts, unpack_counts
from headrace.types import Embedding, FloatArray, Request, Traits, Window

_TINY: Final = 1e-12  # keeps windows that cancel each other out from dividing by 0

# What checkpoints call their prompts, in lower case: first the words of sentence-transformers (encode_query and
# encode_document), then those of nomic-embed, jina-embeddings-v3 and embeddinggemma.
_PROMPTS: Final[Mapping[Purpose, Sequence[str]]] = {
    "query": ("query", "search_query", "retrieval.query", "retrieval-query"),
    "document": (
        "document",
        "passage",
        "corpus",
        "search_document",
        "retrieval.passage",
        "retrieval-document",
    ),
    "classification": ("classification",),
    "clustering": ("clustering",),
}


def expand(request: Request, traits: Traits) -> tuple[str, ...]:
    """Return the inputs, with the prompt that was asked for before each.

    Raises:
        RequestInvalid: The model has no such prompt, or not so many dimensions.
    """
    wanted = request.options.dimensions
    if wanted is not None and not 0 < wanted <= traits.dimensions:
        raise RequestInvalid(
            f"the model gives {traits.dimensions} dimensions, and {wanted} cannot be taken of them",
            field="options.dimensions",
        )
    named, purpose = request.options.prompt, request.options.purpose
    before = find_fitting(traits, purpose) if purpose and named is None else find_prompt(traits, named, "prompt")
    return tuple(before + text for text in request.inputs)


def find_prompt(traits: Traits, name: str | None, option: str) -> str:
    """Return what a model was trained to see before a text; nothing if nothing was asked for.

    Raises:
        RequestInvalid: It has no prompt of that name.
    """
    if name is None:
        return ""
    if name not in traits.prompts:
        known = ", ".join(sorted(traits.prompts)) or "none"
        raise RequestInvalid(f"the model has no prompt {name[:80]!r}; it has: {known}", field=f"options.{option}")
    return traits.prompts[name]


def find_fitting(traits: Traits, purpose: Purpose) -> str:
    """Return what a model was trained to see before a text that is for something; nothing if it was not."""
    prompts = {name.lower(): prompt for name, prompt in traits.prompts.items()}
    return next((prompts[name] for name in _PROMPTS[purpose] if name in prompts), "")


def finish(_text: str, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Embedding:  # noqa: ARG001 - as every task
    """Return the embedding of one text.

    For each window the graph gives ``embedding`` of length 1, shape ``(d,)``, and ``norm``, its length before that,
    shape ``()``; the product is the vector as the model pooled it.
    """
    return Embedding(
        values=_merge(windows, options) if len(windows) > 1 else _pick(windows[0], options),
        **count(windows, truncated),
    )


def _pick(window: Window, options: Options) -> FloatArray:
    unit = np.asarray(window.arrays["embedding"], dtype=np.float32)[: options.dimensions]
    if not options.normalize:
        return unit * np.float32(window.arrays["norm"])
    return unit if options.dimensions is None else _scale(unit)


def _merge(windows: Sequence[Window], options: Options) -> FloatArray:
    """Return the mean of the windows' vectors, each as long as the model made it and weighted by its tokens.

    For a model that pools by the mean that is about the mean over all tokens of the text; what two windows share
    counts once. Scaling comes last: the shorter vector of a window without a clear subject shall count for less.
    """
    vectors = [np.asarray(window.arrays["embedding"], dtype=np.float64) * window.arrays["norm"] for window in windows]
    mean = np.average(vectors, axis=0, weights=[window.weight for window in windows])[: options.dimensions]
    return _scale(mean) if options.normalize else mean.astype(np.float32)


def _scale(values: NDArray[np.floating[Any]]) -> FloatArray:
    wide = values.astype(np.float64)
    return np.asarray(wide / max(float(np.linalg.norm(wide)), _TINY), dtype=np.float32)


def pack(embedding: Embedding) -> bytes:
    """Turn an embedding into bytes: little-endian float32."""
    return pack_counts(embedding) + embedding.values.astype("<f4").tobytes()


def unpack(data: bytes) -> Embedding:
    """Turn the bytes of ``pack`` back into the embedding."""
    counts, own = unpack_counts(data)
    return Embedding(values=np.frombuffer(own, "<f4"), **counts)


def agree(left: Embedding, right: Embedding) -> float:
    """Return the cosine of the angle between two embeddings; those of other lengths have none."""
    if left.values.shape != right.values.shape:
        return 0.0
    first, second = (np.asarray(each.values, dtype=np.float64) for each in (left, right))
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / max(lengths, _TINY)


def pack_signs(values: FloatArray) -> list[int]:
    """Return a bit for each number, 1 if it is over 0, in bytes of eight from the highest on.

    Zeros fill the last byte. The bits that two texts differ in say about how far apart they are, in a 32nd of the room.
    """
    return np.packbits(values > 0).tolist()


def spell(result: Embedding) -> dict[str, Any]:
    """Return the fields of an embedding."""
    return {"embedding": result.values}


TASK: Final = Task(
    name="embed",
    model="embed",
    options=("truncate", "normalize", "dimensions"),
    expand=expand,
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
)
