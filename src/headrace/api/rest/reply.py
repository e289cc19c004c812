"""Writing answers."""

from typing import Any

import orjson
from starlette.responses import Response


def json_response(content: Any) -> Response:
    """Return JSON; NumPy arrays are written without a detour over lists."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
