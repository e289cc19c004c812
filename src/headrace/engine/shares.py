"""What each tenant has inside an engine: whoever wants more than its share waits for itself, and not others for it."""

from dataclasses import dataclass
from typing import Final, Protocol

# A tenant may have twice the room that is left: one alone two thirds of all, each of two that want more two fifths. So
# there is some for whoever comes next, however many there are (Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998).
_ROOM_SHARE: Final = 2


class Sized(Protocol):
    """What one job takes."""

    @property
    def tenant(self) -> str:
        """Whose it is."""
        ...

    @property
    def texts(self) -> int:
        """How many texts."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long they are."""
        ...

    @property
    def tokens(self) -> int:
        """How much work they are."""
        ...


@dataclass(slots=True)
class Load:
    """What some jobs take together."""

    jobs: int = 0
    texts: int = 0
    size_bytes: int = 0
    tokens: int = 0

    def add(self, job: Sized) -> None:
        """Count one more."""
        self.jobs += 1
        self.texts += job.texts
        self.size_bytes += job.size_bytes
        self.tokens += job.tokens

    def remove(self, job: Sized) -> None:
        """Count one less."""
        self.jobs -= 1
        self.texts -= job.texts
        self.size_bytes -= job.size_bytes
        self.tokens -= job.tokens


class Shares:
    """Counts what is inside, of all tenants and of each.

    Attributes:
        all: Of all of them.
    """

    def __init__(self) -> None:
        self.all = Load()
        self._own: dict[str, Load] = {}
        self._first: str | None = None  # who asked first of all
        self._are_several = False  # since somebody else asked, too: one alone need not leave room

    def add(self, job: Sized) -> None:
        """Count a job that comes in."""
        self.all.add(job)
        own = self._own.get(job.tenant)
        if own is None:
            own = self._own[job.tenant] = Load()
        own.add(job)

    def remove(self, job: Sized) -> None:
        """Count a job that has left."""
        self.all.remove(job)
        own = self._own[job.tenant]
        own.remove(job)
        if not own.jobs:
            del self._own[job.tenant]

    def tokens_ahead(self, tenant: str, tokens: float) -> float:
        """Return how many tokens are computed until so many more of a tenant are, if tenants take turns."""
        own = self._own.get(tenant)
        return tokens * (len(self._own) + 1) if own is None else (own.tokens + tokens) * len(self._own)

    def over_room(self, job: Sized, free_texts: float, free_bytes: float) -> float:
        """Return which part of a tenant's work must leave until a job of it leaves room for others; 0 if it does now.

        Whoever asks is known from then on, also if it is not let in.

        Args:
            job: Who asks, and for how much.
            free_texts: Room that there is before.
            free_bytes: Room that there is before.
        """
        if not self._are_several:
            self._first = job.tenant if self._first is None else self._first
            self._are_several = self._first != job.tenant
        own = self._own.get(job.tenant) if self._are_several else None
        if own is None:
            return 0.0
        # What leaves makes room as well: own - x + wanted <= 2 * (free + x).
        over_texts = (own.texts + job.texts - _ROOM_SHARE * free_texts) / (_ROOM_SHARE + 1) / own.texts
        over_bytes = (own.size_bytes + job.size_bytes - _ROOM_SHARE * free_bytes) / (_ROOM_SHARE + 1)
        return max(0.0, over_texts, over_bytes / max(1, own.size_bytes))
