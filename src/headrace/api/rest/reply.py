"""Writing answers."""

import base64
from typing import Any

import orjson
from starlette.responses import Response

from headrace.types import Answer, FloatArray


def json_response(content: Any) -> Response:
    """Return JSON; NumPy arrays are written without a detour over lists."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def spell_usage(answer: Answer) -> dict[str, int]:
    """Return what an answer used, as OpenAI's dialect and those that follow it have it."""
    return {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}


def write_base64(vector: FloatArray) -> str:
    """Return the bytes of little-endian float32, as OpenAI's dialect and Cohere's have them."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
