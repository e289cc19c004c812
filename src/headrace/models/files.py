"""Reads the small files of a checkpoint, which somebody else wrote."""

import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any, Final

from headrace.errors import SourceInvalid, SourceUnsafe

MAX_JSON_BYTES: Final = 64 << 20  # tokenizer.json of a vocabulary of 256 000 entries has 33 MB


def require_plain(folder: Path, name: str) -> Path | None:
    """Return the path of a file, or nothing if it is not there.

    Every folder on the way is looked at too: a link in the middle leads outside as well as one at the end.

    Raises:
        SourceUnsafe: The name leads outside, or a part of it is a link or no plain file.
    """
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or "\0" in name:
        raise SourceUnsafe(f"{name!r} leads outside of the checkpoint; do not use it", field=name)
    path = folder
    for index, part in enumerate(parts):
        path /= part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        wanted = stat.S_ISREG if index == len(parts) - 1 else stat.S_ISDIR
        if not wanted(mode):
            raise SourceUnsafe(
                f"{name!r} is a link or no plain file; copy the checkpoint with cp -rL, so that it holds its files",
                field=name,
            )
    return path


def read_json(folder: Path, name: str) -> Any:
    """Return what a JSON file holds, or nothing if it is not there.

    Raises:
        SourceInvalid: It is too large or not JSON.
        SourceUnsafe: It is a link or no plain file.
    """
    path = require_plain(folder, name)
    if path is None:
        return None
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise SourceInvalid(f"{name} has {size} bytes, more than {MAX_JSON_BYTES}; it is no configuration", field=name)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceInvalid(f"{name} is not JSON; download it again", field=name) from error


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a file, an empty one if the file is not there.

    Raises:
        SourceInvalid: It is too large or no JSON object.
        SourceUnsafe: It is a link or no plain file.
    """
    content = read_json(folder, name)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SourceInvalid(f"{name} is no JSON object; download it again", field=name)
    return content
