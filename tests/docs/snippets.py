"""Shell blocks of the documentation: how they are found, run and compared.

A fenced ``console`` block holds commands, each after ``$ ``, and below each what it prints on standard output and
standard error together; ``...`` stands for anything, across lines too. A command that ends in `` &`` keeps running
until the page is done.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT: Final = "$ "
_START_LIMIT_S: Final = 60.0
_COMMAND_LIMIT_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Snippet:
    """One command and what it prints."""

    command: str
    expected: str

    @property
    def stays(self) -> bool:
        """Whether it keeps running beside those after it."""
        return self.command.endswith(" &")


def read_snippets(page: str) -> Iterator[Snippet]:
    """Yield the commands of a page, in order."""
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Snippet(command, expected.strip())


def matches(expected: str, printed: str) -> bool:
    """Compare, with ``...`` for anything and without regard to space at either end."""
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Shell:
    """Runs the commands of one page in one folder and with one environment; stops what stayed at the end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(_START_LIMIT_S)

    def run(self, snippet: Snippet) -> str:
        """Return what a command printed; for one that stays, as soon as it is what was expected."""
        return self._start(snippet) if snippet.stays else self._finish(snippet.command)

    def _finish(self, command: str) -> str:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self._folder,
            env=dict(self._environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_LIMIT_S,
            check=False,
        ).stdout.decode()

    def _start(self, snippet: Snippet) -> str:
        log = self._folder / f"output-{len(self._running)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["sh", "-c", "exec " + snippet.command.removesuffix(" &")],
                cwd=self._folder,
                env=dict(self._environment),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        limit = time.monotonic() + _START_LIMIT_S
        while not matches(snippet.expected, log.read_text()) and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.1)
        return log.read_text()
