"""Whether what came in has the shape that was asked for, said in the same words by every door."""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from headrace.errors import RequestInvalid, RequestMalformed

Body = TypeVar("Body", bound=BaseModel)


def parse_json(data: bytes) -> Any:
    """Parse what is JSON in UTF-8.

    Raises:
        RequestMalformed: It is none.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        where = f"at character {error.pos}" if data else "it is empty"
        raise RequestMalformed(f"the body is no valid JSON in UTF-8 ({where}); send one JSON object") from error


def validate(content: Any, model: type[Body]) -> Body:
    """Return what was parsed as a model.

    Raises:
        RequestInvalid: It has another shape; ``field`` says where.
    """
    try:
        return model.model_validate(content, strict=True)
    except ValidationError as error:
        raise _explain(error) from None  # the original holds the input


def _explain(error: ValidationError) -> RequestInvalid:
    """Say what is wrong with the first offending value, without repeating the value: it may be a text."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = field_path(first["loc"])
    found = "" if first["type"] in {"missing", "extra_forbidden"} else f", got {_json_type(first['input'])}"
    message = first["msg"].removeprefix("Value error, ")  # what a check of ours raised
    message = message[:1].lower() + message[1:]
    return RequestInvalid(f"{field or 'the body'}: {message}{found}; see /docs", field=field or None)


def field_path(parts: tuple[int | str, ...]) -> str:
    """Spell a place in a JSON document: ``("inputs", 3)`` becomes ``inputs[3]``."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part[:80]}"
    return path.lstrip(".")


def _json_type(value: Any) -> str:
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")
