import pytest
import structlog

from headrace.observe.base import Fact, Observers, QueueChanged

FACT = QueueChanged(model="minilm", waiting=1)


class Hearing:
    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def observe(self, fact: Fact) -> None:
        self.facts.append(fact)


class Broken:
    def observe(self, fact: Fact) -> None:
        raise RuntimeError("no room left")


def test_every_observer_hears_every_fact() -> None:
    first, second = Hearing(), Hearing()
    Observers([first, second]).observe(FACT)
    assert first.facts == second.facts == [FACT]


def test_a_broken_observer_disturbs_nobody_and_is_reported_once() -> None:
    hearing = Hearing()
    observers = Observers([Broken(), hearing])
    with structlog.testing.capture_logs() as lines:
        observers.observe(FACT)
        observers.observe(FACT)
    assert hearing.facts == [FACT, FACT]
    assert [(line["event"], line["observer"]) for line in lines] == [("observer.failed", "Broken")]


def test_what_ends_the_process_is_not_held_back() -> None:
    class Stopping:
        def observe(self, fact: Fact) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Stopping()]).observe(FACT)
