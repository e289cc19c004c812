"""The part `poison`: texts that fail stand among texts that do not, and only they fail."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.chaos.engine import Faulty, Stage, embedding, make_job, running_faulty
from bench.chaos.promise import Promise
from bench.progress import say
from headrace.engine.base import Output
from headrace.errors import EngineFailed, HeadraceError, InputQuarantined, InputTooLong, OutputInvalid

PART: Final = "poison"
BATCHES: Final = 2000
CRASH_EVERY: Final = 100  # batches; each crash costs two restarts of the engine
_AT_ONCE: Final = 4  # so that poison and healthy texts of different requests meet in a batch
_HEALTHY: Final = range(4, 9)
_POISONED: Final = range(1, 5)
_MAX_DIFFERENCE: Final = 1e-5
_SEED: Final = 11
_ERRORS: Final[Mapping[str, type[HeadraceError]]] = {
    "long": InputTooLong,
    "nan": OutputInvalid,
    "fail": EngineFailed,
    "crash": InputQuarantined,
}

Vector = NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """What became of the texts.

    Attributes:
        mistaken: Poisoned texts that did not get the error they should.
        worst: Largest difference of a healthy text's vector from its vector alone.
    """

    healthy: int = 0
    failed: int = 0
    worst: float = 0.0
    poisoned: int = 0
    mistaken: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ERRORS, 0))

    def take_healthy(self, item: Output | HeadraceError, alone: Vector) -> None:
        """Count a healthy text's answer."""
        self.healthy += 1
        if isinstance(item, HeadraceError):
            self.failed += 1
        else:
            self.worst = max(self.worst, float(np.abs(embedding(item) - alone).max()))

    def take_poisoned(self, item: Output | HeadraceError, kind: str) -> None:
        """Count a poisoned text's answer."""
        self.poisoned += 1
        self.kinds[kind] += 1
        self.mistaken += not isinstance(item, _ERRORS[kind])


def run_poison(stage: Stage, batches: int = BATCHES, crash_every: int = CRASH_EVERY) -> list[Promise]:
    """Send batches with one to four poisoned texts each."""
    return asyncio.run(_run(stage, batches, crash_every))


async def _run(stage: Stage, batches: int, crash_every: int) -> list[Promise]:
    chooser = random.Random(_SEED)
    tally = Tally()
    async with running_faulty(stage) as faulty:
        say(f"poison: {len(stage.texts)} texts alone, then {batches} batches with poison")
        alone = {text: await _answer_alone(faulty, text) for text in stage.texts}
        plans = [plan_batch(stage, chooser, number, has_crash=number % crash_every == 0) for number in range(batches)]
        room = asyncio.Semaphore(_AT_ONCE)

        async def send(plan: Sequence[tuple[str, str]]) -> None:
            async with room:
                result = await faulty.engine.run(make_job([text for text, _ in plan]))
            for (text, kind), item in zip(plan, result.items, strict=True):
                if kind:
                    tally.take_poisoned(item, kind)
                else:
                    tally.take_healthy(item, alone[text])

        await asyncio.gather(*map(send, plans))
        restarts = len(faulty.restarts.down_s)
    return promises(tally, batches, restarts)


async def _answer_alone(faulty: Faulty, text: str) -> Vector:
    return embedding((await faulty.engine.run(make_job([text]))).items[0])


def plan_batch(stage: Stage, chooser: random.Random, number: int, *, has_crash: bool) -> list[tuple[str, str]]:
    """Return the texts of a batch, each with its fault, or with nothing if it is healthy."""
    healthy = chooser.sample(list(stage.texts), chooser.choice(_HEALTHY))
    kinds = [chooser.choice(["long", "nan", "fail"]) for _ in range(chooser.choice(_POISONED))]
    if has_crash:
        kinds[0] = "crash"
    plan = [(text, "") for text in healthy]
    for kind in kinds:
        # The number makes each its own text: one that killed the engine before would not be run at all.
        text = stage.long if kind == "long" else f"{chooser.choice(healthy)} {stage.markers[kind]} {number}"
        plan.append((text, kind))
    chooser.shuffle(plan)
    return plan


def promises(tally: Tally, batches: int, restarts: int) -> list[Promise]:
    """Say whether what was promised holds."""
    values = {
        "batches": float(batches),
        "healthy": float(tally.healthy),
        "failed": float(tally.failed),
        "poisoned": float(tally.poisoned),
        "mistaken": float(tally.mistaken),
        "max_difference": tally.worst,
        "restarts": float(restarts),
        **{f"{kind}_texts": float(count) for kind, count in tally.kinds.items()},
    }
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in tally.kinds.items())
    return [
        Promise(
            PART,
            "a poisoned text fails alone",
            f"{batches:,} batches: {tally.failed} of {tally.healthy:,} healthy texts failed",
            tally.healthy > 0 and not tally.failed,
            values,
        ),
        Promise(
            PART,
            f"an answer does not depend on its neighbours (within {_MAX_DIFFERENCE:g})",
            f"largest difference {tally.worst:.1e}",
            tally.worst <= _MAX_DIFFERENCE,
        ),
        Promise(
            PART,
            "a poisoned text gets the error of its own",
            f"{tally.mistaken} of {tally.poisoned:,} ({kinds}; {restarts} restarts) did not",
            not tally.mistaken,
        ),
    ]
