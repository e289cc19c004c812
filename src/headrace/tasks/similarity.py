"""``similarity``: how near texts are to a query, by the embeddings of both."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from headrace.tasks import embed
from headrace.tasks.base import Task, name_input, query_of
from headrace.types import Embedding, Request, Similarity, Text, Traits

_TINY: Final = 1e-12  # keeps a vector of zeros from dividing by its length


def expand(request: Request, traits: Traits) -> tuple[Text, ...]:
    """Return the query, and then the inputs, each with its prompt.

    Raises:
        RequestInvalid: There is no query, or the model has no such prompt or not so many dimensions.
    """
    before = embed.find_prompt(traits, request.options.query_prompt, "query_prompt")
    return (before + query_of(request), *embed.expand(request, traits))


def name_text(index: int, _request: Request) -> str:
    """Return what the caller calls a text: the query comes first."""
    return name_input(index - 1) if index else "query"


def combine(results: Sequence[Embedding], _request: Request) -> tuple[Similarity, ...]:
    """Return for each text the cosine of the angle between its embedding and that of the first."""
    query, *texts = results
    first = np.asarray(query.values, dtype=np.float64)
    rows = np.stack([text.values for text in texts]).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(first)
    cosines = rows @ first / np.maximum(lengths, _TINY)
    return tuple(
        Similarity(score=float(cosine), tokens=text.tokens, truncated=text.truncated, windows=text.windows)
        for cosine, text in zip(cosines, texts, strict=True)
    )


def spell(result: Similarity) -> dict[str, Any]:
    """Return the fields of a similarity."""
    return {"score": result.score}


TASK: Final = Task(
    name="similarity",
    model="embed",
    options=embed.TASK.options,
    finish=embed.finish,
    pack=embed.pack,
    unpack=embed.unpack,
    agree=embed.agree,
    spell=spell,
    expand=expand,
    name_text=name_text,
    combine=combine,
)
