"""JSON of results that come again: written once.

384 numbers take 25 µs to write, as long as all else that is done for an answer that is remembered takes ten times over;
a request of 32 texts is four fifths numbers.
"""

from collections import OrderedDict
from typing import Any, Final

import orjson

from headrace.tasks import spell
from headrace.types import Result, TaskName

_MOST: Final = 1024
_MOST_BYTES: Final = 16_384  # of one: 16 MiB of all


class Fragments:
    """Keeps what results are as JSON, as long as they are the same objects. Belongs to the event loop."""

    def __init__(self) -> None:
        # With each its result, which lives as long, so that no other has its place. The least recently used first.
        self._kept: OrderedDict[tuple[TaskName, int], tuple[Result, orjson.Fragment]] = OrderedDict()

    def spell(self, task: TaskName, result: Result) -> Any:
        """Return what orjson writes as the fields of a result."""
        place = task, id(result)
        kept = self._kept.get(place)
        if kept is not None:
            self._kept.move_to_end(place)
            return kept[1]
        written = orjson.dumps(spell(task, result), option=orjson.OPT_SERIALIZE_NUMPY)
        fragment = orjson.Fragment(written)
        if len(written) <= _MOST_BYTES:
            self._kept[place] = result, fragment
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return fragment
