"""The part `cancels`: callers leave at any moment; nothing is stuck, nothing leaks, and next to nothing is wasted."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.chaos.engine import LIMIT_S, Faulty, Stage, digests, make_job, running_faulty
from bench.chaos.promise import Promise
from bench.progress import say
from headrace.errors import HeadraceError

PART: Final = "cancels"
REQUESTS: Final = 5000
_AT_ONCE: Final = 512  # some 8,000 tokens, half a second of work on two cores: as much as waits at most by default
_MIN_DROPPED: Final = 0.99
_SEED: Final = 12
_FIRST_GUESS_S: Final = 0.2


@dataclass(slots=True)
class Request:
    """One request, of one text.

    Attributes:
        left_at: When its caller left (monotonic clock), if it did so before the answer was there.
        outcome: ``answered``, ``left``, the code of an error, or nothing while it is under way.
    """

    text: str
    has_impatience: bool
    left_at: float | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the requests.

    Attributes:
        stuck: Never ended.
        failed: Ended with an error, though nothing was wrong with them.
        queued: Left before their text began to run.
        wasted: Those of them whose text ran all the same.
        latest_s: Longest time from a caller's leaving until its text began to run. To leave takes a message to the
            engine's process, so a text whose turn is just then cannot be stopped.
        has_room: Whether all places in the queue could be taken afterwards.
    """

    answered: int
    left: int
    stuck: int
    failed: int
    queued: int
    wasted: int
    latest_s: float
    has_room: bool


def run_cancels(stage: Stage, requests: int = REQUESTS) -> list[Promise]:
    """Send requests, half of which are cancelled at a random moment."""
    return promises(asyncio.run(_run(stage, requests)))


async def _run(stage: Stage, count: int) -> Count:
    chooser = random.Random(_SEED)
    texts = [f"{chooser.choice(list(stage.texts))} {number}" for number in range(count)]
    requests = [Request(text, has_impatience=number % 2 == 0) for number, text in enumerate(texts)]
    chooser.shuffle(requests)
    say(f"cancels: {count} requests, half of them cancelled")
    async with running_faulty(stage) as faulty:
        tasks = await _send(faulty, requests, chooser)
        began: dict[str, float] = {}
        for began_at, run in faulty.runs():
            for each in run:
                began.setdefault(each, began_at)
        has_room = await _has_room(faulty, stage)
    known = dict(zip(texts, digests(stage.folder, texts), strict=True))
    stuck = sum(not task.done() for task in tasks)
    return _count(requests, [began.get(known[request.text]) for request in requests], stuck, has_room=has_room)


async def _send(faulty: Faulty, requests: Sequence[Request], chooser: random.Random) -> Sequence["asyncio.Task[None]"]:
    room = asyncio.Semaphore(_AT_ONCE)
    usual_s = _FIRST_GUESS_S

    async def send(request: Request) -> None:
        nonlocal usual_s
        async with room:
            started = time.monotonic()
            patience_s = chooser.random() * 1.5 * usual_s if request.has_impatience else LIMIT_S
            await _ask(faulty, request, patience_s)
            if not request.has_impatience:
                usual_s = 0.9 * usual_s + 0.1 * (time.monotonic() - started)

    tasks = [asyncio.create_task(send(request)) for request in requests]
    await asyncio.wait(tasks, timeout=LIMIT_S)
    return tasks


async def _ask(faulty: Faulty, request: Request, patience_s: float) -> None:
    task = asyncio.create_task(faulty.engine.run(make_job([request.text])))
    done, _ = await asyncio.wait([task], timeout=patience_s)
    if not done:
        request.left_at = time.monotonic()
        task.cancel()
    try:
        result = await task
    except asyncio.CancelledError:
        request.outcome = "left"
    except HeadraceError as error:
        request.outcome = error.code
    else:
        item = result.items[0]
        request.outcome = item.code if isinstance(item, HeadraceError) else "answered"


async def _has_room(faulty: Faulty, stage: Stage) -> bool:
    """Ask for all places in the queue at once: a place that was not given back is missing."""
    places = faulty.settings.max_queued_texts
    try:
        await faulty.engine.run(make_job([f"{stage.texts[0]} {number}" for number in range(places)]))
    except HeadraceError:
        return False
    return True


def _count(requests: Sequence[Request], began: Sequence[float | None], stuck: int, *, has_room: bool) -> Count:
    pairs = zip(requests, began, strict=True)
    left = [(each.left_at, at) for each, at in pairs if each.outcome == "left" and each.left_at is not None]
    queued = sum(at is None or at > left_at for left_at, at in left)
    late = [at - left_at for left_at, at in left if at is not None and at > left_at]
    outcomes = [request.outcome for request in requests]
    return Count(
        answered=outcomes.count("answered"),
        left=outcomes.count("left"),
        stuck=stuck,
        failed=sum(outcome not in {"answered", "left", ""} for outcome in outcomes),
        queued=queued,
        wasted=len(late),
        latest_s=max(late, default=0.0),
        has_room=has_room,
    )


def promises(count: Count) -> list[Promise]:
    """Say whether what was promised holds."""
    total = count.answered + count.left + count.failed + count.stuck
    dropped = 1 - count.wasted / count.queued if count.queued else 0.0
    values = {
        "requests": float(total),
        "answered": float(count.answered),
        "left": float(count.left),
        "left_while_queued": float(count.queued),
        "computed_for_nobody": float(count.wasted),
        "dropped_share": dropped,
        "latest_s": count.latest_s,
        "stuck": float(count.stuck),
        "failed": float(count.failed),
    }
    return [
        Promise(
            PART,
            "callers that leave leave nothing stuck, and disturb nobody",
            f"{total:,} requests, {count.left:,} left: {count.stuck} stuck, {count.failed} failed",
            not count.stuck and not count.failed,
            values,
        ),
        Promise(
            PART, "their places in the queue are free again", "all" if count.has_room else "not all", count.has_room
        ),
        Promise(
            PART,
            f"a text whose caller left while it waited is not computed (at least {_MIN_DROPPED:.0%})",
            f"{dropped:.2%} of {count.queued:,}; the others began within {count.latest_s * 1e3:.0f} ms",
            dropped >= _MIN_DROPPED,
        ),
    ]
