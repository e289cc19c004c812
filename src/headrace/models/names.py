"""The grammar of model names, checked wherever a name comes in from outside."""

import re

from headrace.errors import NameInvalid
from headrace.types import MODEL_NAME


def check_name(name: str) -> str:
    """Return the name unchanged if it is a model name.

    Raises:
        NameInvalid: It is not; the message holds the grammar.
    """
    if not MODEL_NAME.fullmatch(name):
        raise NameInvalid(
            f"{name[:80]!r} is no model name; use 1 to 63 of a-z, 0-9, '.', '_', '-', starting with a letter or digit",
            field="model",
        )
    return name


def suggest_name(source: str) -> str:
    """Derive a model name from the last part of a source, such as a hub id or a folder."""
    last = re.split(r"[/:\\]", source.partition("==")[0].rstrip("/"))[-1].lower()
    return check_name(re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:63] or "model")
