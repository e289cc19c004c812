"""The worker's end of the protocol: a JSON object on a line asks, a JSON object on a line answers.

A worker stays warm between rounds, so that rounds of several candidates can be interleaved.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Command = Callable[..., dict[str, Any]]


def answer_commands(commands: Mapping[str, Command]) -> None:
    """Answer commands until standard input ends.

    Args:
        commands: By name; called with the other fields of the question.
    """
    answers = _take_stdout()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = commands[question.pop("command")](**question)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the one who asked must hear it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _take_stdout() -> Any:
    """Keep standard output for answers alone; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def read_texts(path: str) -> list[str]:
    """Read a JSON Lines file of texts."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]
