"""Which column of a table is what: as the user says, or as its name lets it be guessed.

A guess is always told, so that a wrong one is seen before anything is trained.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.errors import DataInvalid
from headrace.training.tables import Table

NAMES: Final[Mapping[str, Sequence[str]]] = {
    "text": ("text", "sentence", "content", "review", "message", "body", "document", "tweet", "comment", "input"),
    "label": ("label", "labels", "class", "category", "sentiment", "topic", "intent", "target", "tag", "y"),
    "value": ("value", "score", "rating", "stars", "target", "label", "y"),
    "words": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels"),
    "query": ("query", "question", "anchor", "sentence1", "text1", "q"),
    "passage": ("passage", "answer", "positive", "document", "sentence2", "text2", "text", "a"),
    "relevance": ("relevance", "score", "label"),
}
"""Usual names of the column of each role, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is looked for in a table.

    Attributes:
        roles: Each is a key of ``NAMES``, and has a column.
        optional: Roles that may have none.
        chosen: Columns that the user named, by role.
    """

    roles: Sequence[str]
    optional: Sequence[str] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def find(self, table: Table) -> dict[str, str]:
        """Return the column of each role.

        Raises:
            DataInvalid: The table has no such column, or none that looks like it; the message lists those it has.
        """
        found: dict[str, str] = {}
        for role in (*self.roles, *self.optional):
            name = self._named(table, role) or _guess(table, role, found.values())
            if name is not None:
                found[role] = name
        lacking = [role for role in self.roles if role not in found]
        left = [name for name in table.columns if name not in found.values()]
        if len(lacking) == len(left) == 1:
            found[lacking[0]] = left[0]
        elif lacking:
            raise DataInvalid(f"{table.path.name}: no column looks like the {lacking[0]}; {_remedy(table, lacking[0])}")
        return found

    def _named(self, table: Table, role: str) -> str | None:
        name = self.chosen.get(role)
        if name is not None and name not in table.columns:
            raise DataInvalid(f"{table.path.name} has no column {name!r} for the {role}; {_remedy(table, role)}")
        return name


def _guess(table: Table, role: str, taken: Collection[str]) -> str | None:
    folded = {name.strip().lower(): name for name in table.columns if name not in taken}
    return next((folded[name] for name in NAMES[role] if name in folded), None)


def _remedy(table: Table, role: str) -> str:
    columns = ", ".join(repr(name[:40]) for name in table.columns[:12])
    return f"its columns are {columns}: name one with --column {role}=NAME"
