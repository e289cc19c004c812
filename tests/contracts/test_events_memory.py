from tests.contracts.events import KEEP, EventsContract

from headrace.events.memory import MemoryEvents


class TestMemoryEvents(EventsContract):
    def make_events(self) -> MemoryEvents:
        return MemoryEvents(KEEP)
