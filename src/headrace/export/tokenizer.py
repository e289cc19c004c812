"""The tokenizer file that serving reads."""

import json
from pathlib import Path

from headrace.models.checkpoint import TOKENIZER
from headrace.models.files import read_object


def write_tokenizer(folder: Path, target: Path) -> None:
    """Copy a checkpoint's ``tokenizer.json`` without its own truncation and padding.

    Serving does both itself: the file of all-MiniLM-L6-v2 pads every text to 128 tokens and cuts it there, where
    the model's window is 256.

    Raises:
        SourceInvalid: The file is no JSON object.
    """
    content = read_object(folder, TOKENIZER) | {"truncation": None, "padding": None}
    target.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
