"""Who changed what: written before it is done, so that nothing is changed that nobody will know of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from headrace.errors import HeadraceError
from headrace.records.base import Change, Records
from headrace.types import Caller

_LONGEST_SUBJECT: Final = 256  # characters


class Journal:
    """Keeps who changes what.

    Args:
        records: Where it is kept.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    @contextlib.asynccontextmanager
    async def noted(self, caller: Caller, action: str, subject: str) -> AsyncIterator[None]:
        """Note what a block does, and its error's code if it fails.

        Raises:
            RecordsUnusable: It cannot be noted; the block does not run.
        """
        await self._note(caller, action, subject)
        try:
            yield
        except HeadraceError as error:
            await self._note(caller, f"{action} failed: {error.code}", subject)
            raise

    async def _note(self, caller: Caller, action: str, subject: str) -> None:
        await asyncio.to_thread(self._records.write, change_by(caller, action, subject))


def change_by(caller: Caller, action: str, subject: str) -> Change:
    """Return a change that a caller makes now."""
    # What a caller sent may be long, or hold what a database does not keep or a terminal acts on.
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in subject[:_LONGEST_SUBJECT])
    return Change(at=datetime.now(UTC), caller=caller.name, tenant=caller.tenant, action=action, subject=shown)
