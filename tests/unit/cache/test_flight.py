import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.support.stepped import Clock, SteppedLoop

from headrace.cache.flight import SingleFlight, _Asker
from headrace.errors import CapacityError, DeadlineExceeded, HeadraceError, InputTooLong, QueueFull

KEYS = [b"a", b"b", b"c", b"d"]
INDEX = st.integers(0, 99)
STEPS = settings(
    max_examples=150,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# Finding one case is all that is asked of a broken variant; making it small takes the longest.
HUNT = settings(STEPS, phases=[Phase.generate], max_examples=500, report_multiple_bugs=False)

Outcomes = Mapping[bytes, str | HeadraceError]


@dataclass(eq=False)
class Computation:
    """One call of ``compute`` that has not ended."""

    request: "Asked"
    keys: list[bytes]
    number: int
    future: "asyncio.Future[dict[bytes, str | HeadraceError]]"


@dataclass(eq=False)
class Asked:
    """One request, and what it may get."""

    keys: list[bytes]
    deadline: float
    task: "asyncio.Task[dict[bytes, str | HeadraceError]]" = field(init=False)
    has_left: bool = False
    was_refused: bool = False
    may_get: dict[bytes, list[Any]] = field(default_factory=dict)


class FlightMachine(RuleBasedStateMachine):
    """Requests come, leave and are late, computations succeed, fail and are refused, in any order."""

    make: type[SingleFlight[str]] = SingleFlight

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("headrace.cache.flight.time", self.clock)
        self.loop = SteppedLoop(self.clock)
        self.flight = self.make()
        self.live: list[Asked] = []
        self.running: list[Computation] = []
        self.count = 0

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True), seconds=st.integers(1, 5))
    def ask(self, keys: list[bytes], seconds: int) -> None:
        request = Asked(keys, self.clock.now + seconds)

        async def run() -> dict[bytes, str | HeadraceError]:
            return await self.flight.run(keys, lambda led: self.compute(request, led), request.deadline)

        request.task = self.loop.create_task(run())
        self.live.append(request)
        self.settle()

    async def compute(self, request: Asked, led: Sequence[bytes]) -> Outcomes:
        self.count += 1
        computation = Computation(request, list(led), self.count, self.loop.create_future())
        self.running.append(computation)
        try:
            async with asyncio.timeout(request.deadline - self.clock.now):
                return await computation.future
        except TimeoutError as error:
            raise DeadlineExceeded("late") from error
        finally:
            self.running.remove(computation)

    @precondition(lambda self: self.running)
    @rule(index=INDEX, kinds=st.lists(st.sampled_from(["value", "value", "error", "late"]), min_size=3, max_size=3))
    def finish(self, index: int, kinds: list[str]) -> None:
        computation = self.running[index % len(self.running)]
        outcomes = {
            key: self.outcome(kind, computation, key) for key, kind in zip(computation.keys, kinds, strict=False)
        }
        for key, outcome in outcomes.items():
            shared = [computation.request] if isinstance(outcome, CapacityError) else self.live
            for request in shared:
                request.may_get.setdefault(key, []).append(outcome)
        computation.future.set_result(outcomes)
        self.settle()

    def outcome(self, kind: str, computation: Computation, key: bytes) -> str | HeadraceError:
        name = f"{key.decode()} by {computation.number}"
        errors: dict[str, HeadraceError] = {"error": InputTooLong(name), "late": DeadlineExceeded(name)}
        return errors.get(kind, name)

    @precondition(lambda self: self.running)
    @rule(index=INDEX)
    def refuse(self, index: int) -> None:
        computation = self.running[index % len(self.running)]
        computation.request.was_refused = True
        computation.future.set_exception(QueueFull("full"))
        self.settle()

    @precondition(lambda self: self.live)
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        request = self.live[index % len(self.live)]
        request.has_left = True
        request.task.cancel()
        self.settle()

    @rule()
    def wait(self) -> None:
        self.clock.now += 1
        self.settle()

    @invariant()
    def a_key_is_computed_once_at_a_time(self) -> None:
        keys = [key for computation in self.running for key in computation.keys]
        assert len(keys) == len(set(keys))
        assert len(self.flight) == len(keys)

    @invariant()
    def whoever_waits_waits_for_something_and_not_too_long(self) -> None:
        running = {key for computation in self.running for key in computation.keys}
        for request in self.live:
            assert running & set(request.keys)
            assert request.deadline > self.clock.now

    def settle(self) -> None:
        self.loop.settle()
        done = [request for request in self.live if request.task.done()]
        self.live = [request for request in self.live if not request.task.done()]
        for request in done:
            self.check(request)
        assert self.loop.mistakes == []

    def check(self, request: Asked) -> None:
        if request.task.cancelled():
            assert request.has_left
            return
        match request.task.exception():
            case DeadlineExceeded():
                assert self.clock.now >= request.deadline
            case QueueFull():
                assert request.was_refused
            case None:
                found = request.task.result()
                assert set(found) == set(request.keys)
                assert all(outcome in request.may_get[key] for key, outcome in found.items())
            case error:
                raise error

    def teardown(self) -> None:
        try:
            while self.running:
                self.finish(0, ["value"] * 3)
            assert self.live == []
            assert len(self.flight) == 0
        finally:
            for request in self.live:
                request.task.cancel()
            with contextlib.suppress(AssertionError):  # the first one is the one to tell
                self.settle()
            self.loop.close()
            self.patch.undo()


TestSingleFlight = FlightMachine.TestCase
TestSingleFlight.settings = STEPS


class SharesWhatHoldsForOneAlone(SingleFlight[str]):
    def _settle(self, leader: _Asker[str], outcomes: Outcomes) -> None:
        for key, outcome in outcomes.items():
            leader.found[key] = outcome
            for follower in self._flights.pop(key).followers:
                follower.take(key, outcome)


class HandsNothingOver(SingleFlight[str]):
    def _give_up(self, key: bytes) -> None:
        del self._flights[key]


class KeepsEntries(SingleFlight[str]):
    def _leave(self, asker: _Asker[str], keys: Any) -> None:
        pass


class ComputesForEach(SingleFlight[str]):
    def _join(self, asker: _Asker[str], keys: Sequence[bytes]) -> list[bytes]:
        super()._join(asker, keys)
        return list(keys)


class WakesNobody(SingleFlight[str]):
    def _settle(self, leader: _Asker[str], outcomes: Outcomes) -> None:
        for key, outcome in outcomes.items():
            leader.found[key] = outcome
            if isinstance(outcome, CapacityError):
                self._give_up(key)
            else:
                del self._flights[key]


class MixesUp(SingleFlight[str]):
    def _settle(self, leader: _Asker[str], outcomes: Outcomes) -> None:
        super()._settle(leader, dict(zip(outcomes, reversed(list(outcomes.values())), strict=True)))


class WaitsBeforeItLeads(SingleFlight[str]):
    def _join(self, asker: _Asker[str], keys: Sequence[bytes]) -> list[bytes]:
        led = super()._join(asker, keys)
        return led if len(led) == len(keys) else []


class EndsWithAFollower(SingleFlight[str]):
    def _leave(self, asker: _Asker[str], keys: Any) -> None:
        for key in keys:
            self._flights.pop(key, None)


@pytest.mark.parametrize(
    "broken",
    [
        SharesWhatHoldsForOneAlone,
        HandsNothingOver,
        KeepsEntries,
        ComputesForEach,
        WakesNobody,
        MixesUp,
        WaitsBeforeItLeads,
        EndsWithAFollower,
    ],
)
def test_the_machine_notices_a_variant_that(broken: type[SingleFlight[str]]):
    class Machine(FlightMachine):
        make = broken

    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(Machine, settings=HUNT)
