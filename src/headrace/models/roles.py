"""``roles.json``: which version of a model answers, and which one is tried out beside it."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.errors import ModelCorrupt

ROLES: Final = "roles.json"
"""File beside a model's versions."""

MAX_ROLES_BYTES: Final = 4096

CandidateKind = Literal["canary", "shadow"]
"""A canary answers a share of the traffic; a shadow is asked a share of it again, and nobody gets its answers."""

_Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_MEND: Final = "delete it to serve the newest version, or import the model again"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Candidate(_Frozen):
    """A version that is tried out.

    Attributes:
        share: Of the traffic, above 0 and at most 1.
    """

    revision: _Revision
    kind: CandidateKind
    share: float = Field(gt=0, le=1)

    def __str__(self) -> str:
        return f"{self.kind} {100 * self.share:g} %"


class Roles(_Frozen):
    """Which versions of a model do what.

    Attributes:
        champion: The one that answers.
        previous: The one that did before, which a rollback brings back.
        candidate: The one that is tried out, if any.
    """

    champion: _Revision
    previous: _Revision | None = None
    candidate: Candidate | None = None

    def promote(self, revision: str) -> "Roles":
        """Return the roles with another champion; if it was tried out, that is over."""
        candidate = None if self.candidate and self.candidate.revision == revision else self.candidate
        previous = self.previous if revision == self.champion else self.champion
        return Roles(champion=revision, previous=previous, candidate=candidate)

    def try_out(self, candidate: Candidate | None) -> "Roles":
        """Return the roles with another candidate, or with none."""
        return self.model_copy(update={"candidate": candidate})

    def without(self, gone: Collection[str], heir: str | None) -> "Roles | None":
        """Return the roles when some versions are gone; nothing if none is left to be the champion.

        Args:
            gone: Their revisions.
            heir: Becomes the champion if that is among them.
        """
        champion = heir if self.champion in gone else self.champion
        if champion is None:
            return None
        candidate = self.candidate
        if candidate is not None and (candidate.revision in gone or candidate.revision == champion):
            candidate = None
        previous = None if self.previous in {*gone, champion} else self.previous
        return Roles(champion=champion, previous=previous, candidate=candidate)

    def describe(self, revision: str) -> str:
        """Return what a version does, in a word or two; nothing if it has no role."""
        if revision == self.champion:
            return "champion"
        return str(self.candidate) if self.candidate and self.candidate.revision == revision else ""


def parse_roles(data: bytes, path: Path | str, remedy: str = _MEND) -> Roles:
    """Read ``roles.json``.

    Args:
        data: Its content.
        path: Where it lies, for the message.
        remedy: What to do, for the message.

    Raises:
        ModelCorrupt: It is no such file.
    """
    try:
        return Roles.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelCorrupt(f"{path}: {place}: {first['msg']}; {remedy}") from error


def require_champion(roles: Roles, revisions: Collection[str], path: Path) -> None:
    """Refuse roles whose champion is not there.

    Raises:
        ModelCorrupt: It is not.
    """
    if roles.champion not in revisions:
        raise ModelCorrupt(f"{path} names {roles.champion!r} as champion, and there is no such version; {_MEND}")
