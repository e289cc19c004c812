"""An observer that remembers."""

from typing import TypeVar

from headrace.observe.base import Fact

F = TypeVar("F")


class Recorder:
    """Keeps every fact."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def observe(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type[F]) -> list[F]:
        """Return the facts of one kind, in order."""
        return [fact for fact in self.facts if isinstance(fact, kind)]
