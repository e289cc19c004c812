"""How the texts of a request that may be answered get their results: remembered, awaited or computed.

What is remembered here costs nothing. Of the rest each text is one request's to get: it asks what all replicas
remember, and computes what none of them has and none of them is about to have.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from headrace.cache.base import make_key
from headrace.cache.flight import SingleFlight
from headrace.cache.results import Results
from headrace.engine.base import Job, JobResult, Output
from headrace.engine.registry import LoadedModel
from headrace.errors import DeadlineExceeded, HeadraceError
from headrace.limits.bill import Bill
from headrace.observe.watched import Watched
from headrace.options import Options
from headrace.tasks.base import Task
from headrace.types import Request, Result, Text, Timings, Traits, parts_of

_LOOK_AGAIN_S: Final = 0.02  # whether another replica has the answer by now: a short text takes it less


@dataclass(slots=True)
class Work:
    """A request that may be answered: which model does what to which texts.

    Attributes:
        options: As the caller chose them, and the model's own where the caller did not.
        texts: What the model has to read.
        bill: Whom it counts for, and what.
        seen: Told what is done.
    """

    request: Request
    model: LoadedModel
    traits: Traits
    task: Task
    options: Options
    texts: tuple[Text, ...]
    bill: Bill
    seen: Watched


@dataclass(slots=True)
class Found:
    """What the texts of a request came to.

    Attributes:
        results: Of each text, in their order.
        cached: How many of them were remembered.
        runs: What took how long, for each time that this request used the engine.
    """

    results: list[Result]
    cached: int
    runs: list[Timings]


@dataclass(slots=True)
class _Search:
    """What a request looks for.

    Attributes:
        missing: Texts that this process does not remember, by their keys.
        known: What was remembered, here or anywhere.
    """

    work: Work
    missing: dict[bytes, Text]
    known: dict[bytes, Result]
    runs: list[Timings] = field(default_factory=list)


class Answering:
    """Gets results, each different one once, also if other requests want it meanwhile. Belongs to the event loop.

    Args:
        results: What is remembered.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._flight: SingleFlight[Result] = SingleFlight()

    async def find(self, work: Work) -> Found:
        """Return the results of a request's texts.

        One text that fails fails the request, but the others' results are remembered: asked again without it, they
        cost nothing. A text that another request computes is no remembered one: it was waited for.

        Raises:
            HeadraceError: Why there is none; ``field`` names the input that is to blame, if one is.
        """
        keys = _keys(work)
        work.seen.enter("lookup")
        known = await self._results.recall(keys, work.task) if work.request.may_recall else {}
        missing = {key: text for key, text in zip(keys, work.texts, strict=True) if key not in known}
        if not missing:
            return Found([known[each] for each in keys], len(keys), [])
        search = _Search(work, missing, known)
        found = await self._get(search, keys) | known
        return Found([found[each] for each in keys], sum([each in known for each in keys]), search.runs)

    async def _get(self, search: _Search, keys: list[bytes]) -> dict[bytes, Result]:
        work = search.work
        work.seen.enter("wait")  # for the engine, or for another request
        if work.request.may_recall:
            outcomes = await self._flight.run(search.missing, partial(self._lead, search), work.request.deadline)
        else:
            outcomes = await self._run_texts(search, search.missing)
        values = {}
        for key in search.missing:
            outcome = outcomes[key]
            if isinstance(outcome, HeadraceError):
                raise outcome.at(work.task.name_text(keys.index(key), work.request)) from outcome
            values[key] = outcome
        return values

    async def _lead(self, search: _Search, keys: Sequence[bytes]) -> Mapping[bytes, Result | HeadraceError]:
        """Return the outcomes of some keys that no other request here gets, so far as no other replica computes them.

        What another replica computes is led on and asked for again. It is waited for last, so that no two replicas can
        wait for each other.
        """
        remembered, coming = await self._fetch(search.work, keys)
        search.known.update(remembered)
        texts = {key: search.missing[key] for key in keys if key not in remembered and key not in coming}
        if texts:
            return {**remembered, **await self._run_texts(search, texts)}
        if not remembered:
            await _pause(search.work.request.deadline)
        return remembered

    async def _fetch(self, work: Work, keys: Sequence[bytes]) -> tuple[Mapping[bytes, Result], Collection[bytes]]:
        """Return what all replicas remember, and what another of them computes."""
        if not self._results.is_shared:
            return {}, ()
        work.seen.enter("lookup")
        fetched = await self._results.fetch(keys, work.task)
        work.seen.enter("wait")
        return fetched

    async def _run_texts(self, search: _Search, texts: Mapping[bytes, Text]) -> dict[bytes, Result | HeadraceError]:
        """Run texts and remember their results; those that have none are left to others."""
        values: dict[bytes, Result] = {}
        try:
            outcomes, timings = await _run_job(search.work, texts)
            search.runs.append(timings)
            values = {key: value for key, value in outcomes.items() if isinstance(value, Result)}
            await self._results.remember(values, search.work.task)
        finally:
            if len(values) < len(texts):
                self._results.give_up(texts.keys() - values.keys())
        return outcomes


async def _run_job(work: Work, texts: Mapping[bytes, Text]) -> tuple[dict[bytes, Result | HeadraceError], Timings]:
    """Run texts and finish their results."""
    job = Job(
        texts=tuple(texts.values()),
        truncate=work.options.truncate,
        deadline=work.request.deadline,
        tenant=work.request.caller.tenant,
    )
    with work.bill.computing(job.texts):
        result = await _run_until(work.request.deadline, work.model, job)
    work.bill.tokens += sum([item.tokens for item in result.items if isinstance(item, Output)])
    work.seen.ran(result.timings)
    items = dict(zip(texts, result.items, strict=True))
    return {key: _finish(work, texts[key], item) for key, item in items.items()}, result.timings


def _finish(work: Work, text: Text, item: Output | HeadraceError) -> Result | HeadraceError:
    """Return the result of a text, or why there is none."""
    if isinstance(item, HeadraceError):
        return item
    try:
        return work.task.finish(text, item.windows, item.truncated, work.options, work.traits)
    except HeadraceError as error:
        return error


def _keys(work: Work) -> list[bytes]:
    manifest = work.model.manifest
    # The precision: whoever asked for fp32 must not be given what another replica computed in bf16.
    options = f"{work.options.canonical(work.task.options)},precision={work.model.plan.precision}"
    return [
        make_key(
            revision=manifest.revision,
            task=manifest.task,
            options=options,
            scope=work.request.caller.tenant,
            texts=parts_of(text),
        )
        for text in work.texts
    ]


async def _run_until(deadline: float, model: LoadedModel, job: Job) -> JobResult:
    """Run a job, and give up at the deadline also when its texts are being computed already."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await model.engine.run(job)
    except TimeoutError as error:
        raise DeadlineExceeded("the answer was not there in time; send less at once, or ask again later") from error


async def _pause(deadline: float) -> None:
    """Wait a little for what another replica computes."""
    if time.monotonic() >= deadline:
        raise DeadlineExceeded("the deadline passed while another replica computed the same text; ask again")
    await asyncio.sleep(_LOOK_AGAIN_S)
