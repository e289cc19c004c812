"""What an answer is written as: JSON, or the bare numbers of embeddings for whoever asks for them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.weights import read_weights
from headrace.errors import AnswerUnacceptable
from headrace.types import Answer, Embedding

JSON: Final = "application/json"
FLOATS: Final = "application/octet-stream"

_DESCRIPTIONS: Final = {
    "x-model": "Name of the model.",
    "x-revision": "Its revision.",
    "x-shape": "Rows and columns, such as 32,384.",
    "x-tokens": "Tokens computed.",
    "x-cached": "Embeddings that were remembered, not computed.",
    "x-truncated": "Places of the inputs that were cut, such as 0,5; absent if there are none.",
}
FLOATS_DESCRIBED: Final[dict[str, Any]] = {
    "content": {FLOATS: {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        name: {"description": f"With {FLOATS}. {told}", "schema": {"type": "string"}}
        for name, told in _DESCRIPTIONS.items()
    },
}
"""For the OpenAPI document: little-endian float32, one row for each input."""


def choose_media(request: Request, offered: tuple[str, ...]) -> str:
    """Return what a request wants of what there is, the first of what it wants alike.

    Who wants nothing of it gets the first all the same, since clients name what they do not mean. But who wants bare
    numbers where there are none would read the answer as such.

    Raises:
        AnswerUnacceptable: Bare numbers are wanted and nothing else that there is.
    """
    wanted = request.headers.getlist("accept")
    return _choose(",".join(wanted), offered) if wanted else offered[0]


@functools.lru_cache(maxsize=64)  # a client sends the same each time
def _choose(accept: str, offered: tuple[str, ...]) -> str:
    wanted = read_weights(accept)
    best = max(offered, key=lambda media: _weigh(wanted, media))
    if wanted.get(FLOATS) and not _weigh(wanted, best):
        raise AnswerUnacceptable(
            f"the answer is no {FLOATS}, which embeddings alone can be; accept {offered[0]}", field="accept"
        )
    return best


def _weigh(wanted: Mapping[str, float], media: str) -> float:
    """Return how much a media type is wanted, as what matches it most closely says."""
    names = (media, f"{media.partition('/')[0]}/*", "*/*")
    return next((wanted[name] for name in names if name in wanted), 0.0)


def write_floats(answer: Answer) -> Response:
    """Return embeddings as bare numbers, one row for each input; headers say what else there is to say."""
    embeddings = cast("Sequence[Embedding]", answer.results)
    headers = {
        "x-model": answer.model,
        "x-revision": answer.revision,
        "x-shape": f"{len(embeddings)},{embeddings[0].values.size}",
        "x-tokens": str(answer.tokens),
        "x-cached": str(answer.cached),
    }
    if cut := [str(index) for index, each in enumerate(embeddings) if each.truncated]:
        headers["x-truncated"] = ",".join(cut)
    data = b"".join(each.values.astype("<f4").tobytes() for each in embeddings)
    return Response(data, media_type=FLOATS, headers=headers)
