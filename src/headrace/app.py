"""Wires settings to implementations, and starts and stops them in order.

Only this module and ``adapters`` pick implementations. Start-up is a stack; stopping is that stack from the top: not
ready, stop accepting, drain, close the engines.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from headrace.adapters import (
    Shared,
    bind_grpc,
    open_access,
    open_shared,
    open_traces,
)
from headrace.api.context import Context
from headrace.api.rest.app import build_app
from headrace.api.rest.server import RestServer, base_url, bind
from headrace.auth.loopback import is_loopback
from headrace.engine.agreement import read_reference
from headrace.engine.base import Engine
from headrace.engine.plan import Plan, make_plan, settle
from headrace.engine.plans import Tuned, find_tuned, save_tuned
from headrace.engine.registry import LoadedModel, Registry
from headrace.engine.supervised import Patience, SupervisedEngine
from headrace.engine.tune import SHORT, Effort, Step, runtime_plans, tune
from headrace.errors import BindRefused, StoreUnusable
from headrace.events.observer import EventObserver
from headrace.idempotency import Idempotency
from headrace.machine import IDLE, NORMAL, read_machine
from headrace.memory import settle_memory
from headrace.models.folder import ModelFolder
from headrace.models.store import LocalStore
from headrace.observe.base import Observer, Observers
from headrace.observe.counts import OfVersion, VersionCounts
from headrace.observe.logs import LogObserver
from headrace.observe.metrics import Metrics
from headrace.readers import Readers
from headrace.records.journal import Journal
from headrace.rollout import Rollout
from headrace.service import Service
from headrace.settings import EngineSettings, LoadedSettings, RedisSettings, Settings
from headrace.tls import open_tls

Announce = Callable[[str, str | None], None]

_TUNE_QUEUE: Final = {"max_queued_texts": 4096, "max_wait_s": 3600.0}  # what is measured must not be refused
_SHADOW_BATCH_S: Final = 3600.0  # on a busy machine a shadow stands still, and that is no fault of it
_CLOSE_LIMIT_S: Final = 5.0  # for an engine whose requests were all answered or cancelled already


def open_store(settings: Settings) -> LocalStore:
    """Return the model store."""
    return LocalStore(settings.store.models)


@contextlib.asynccontextmanager
async def open_service(
    loaded: LoadedSettings,
    models: Sequence[str],
    observer: Observer | None = None,
    *,
    shared: Shared | None = None,
    may_tune: bool = False,
    follows: bool = False,
) -> AsyncIterator[Service]:
    """Load models, each as ``engine.isolation`` says, and give the service that answers with them.

    Args:
        loaded: All options.
        models: Names in the store; the first is the default.
        observer: Hears what happens, if anybody does.
        shared: What counts, remembers, and notes who changed what; by default made as the options say.
        may_tune: Whether a model that was never measured here is measured first.
        follows: Whether versions are switched when the store says so.

    Raises:
        ModelUnknown: A name is not in the store.
        ModelCorrupt: A model folder is not as it was written.
    """
    settings = loaded.settings
    observer = observer or Observers([])
    store = open_store(settings)
    folders = [await asyncio.to_thread(store.open, name) for name in models]  # reads every byte of every file
    registry = Registry([await _load(each, settings, observer, may_tune=may_tune) for each in folders])
    async with contextlib.AsyncExitStack() as stack:
        if shared is None:
            shared = await stack.enter_async_context(open_shared(settings))
        journal = Journal(shared.records)
        rollout = Rollout(store, registry, partial(_load_version, settings, observer), observer, journal)
        stack.push_async_callback(_close, registry)
        stack.push_async_callback(rollout.aclose)
        await registry.start(observer)
        if follows and settings.store.follow_s:
            rollout.start_following(settings.store.follow_s)
        yield Service(
            models=registry,
            rollout=rollout,
            limiter=shared.limiter,
            results=shared.results,
            observer=observer,
            bounds=settings.limits,
        )


def for_one_caller(loaded: LoadedSettings) -> LoadedSettings:
    """Lift what protects the callers of a server from each other, for one who owns the machine.

    There is no rate, nothing is shared with replicas, and unless it is asked for, no process for the engine: a crash
    ends this program only.
    """
    settings = loaded.settings
    limits = settings.limits.model_copy(update={"requests_per_s": None})
    is_chosen = loaded.origins.get("engine.isolation", "default") != "default"
    engine = settings.engine if is_chosen else settings.engine.model_copy(update={"isolation": "none"})
    alone = {"limits": limits, "engine": engine, "redis": RedisSettings()}
    return replace(loaded, settings=settings.model_copy(update=alone))


def count_at_once(settings: Settings, labels: int) -> int:
    """Return how many texts one request may have if nobody else sends any, each read with so many labels."""
    most = min(settings.limits.max_inputs, settings.engine.max_queued_texts)
    return max(1, most // max(1, labels))


async def serve(loaded: LoadedSettings, models: Sequence[str], announce: Announce) -> None:
    """Serve models until SIGTERM or Ctrl-C; every request accepted before is answered.

    Args:
        loaded: All options.
        models: Names in the store; the first is the default.
        announce: Told the base URL, and the address for gRPC, when requests are answered.

    Raises:
        HeadraceError: Why the server cannot start.
    """
    settings = loaded.settings
    metrics, counts = Metrics(), VersionCounts()
    own = (metrics, counts, LogObserver())
    stop = _stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        tracer, spans = await stack.enter_async_context(open_traces(settings.traces, Observers(own)))
        shared = await stack.enter_async_context(open_shared(settings))
        observer = Observers([*own, *spans, EventObserver(shared.events, metrics)])
        access = await stack.enter_async_context(open_access(settings, shared.records))
        listener = stack.enter_context(contextlib.closing(bind(settings.server)))
        _refuse_public(listener, has_keys=not access.guard.is_local)
        tls = open_tls(settings.server)
        calls = bind_grpc(settings.server, tls)
        opening_service = open_service(loaded, models, observer, shared=shared, may_tune=True, follows=True)
        service = await _unless(stop, asyncio.ensure_future(stack.enter_async_context(opening_service)))
        if service is None:
            return  # told to stop while the models were loading
        context = Context(
            service=service,
            keyring=access.keyring,
            users=access.users,
            tokens=access.tokens,
            idempotency=Idempotency(shared.records),
            readers=Readers(shared.events, observer, settings.events.max_readers),
            guard=access.guard,
            settings=settings,
            observer=observer,
            metrics=metrics,
            counts=counts,
            tracer=tracer,
        )
        server = RestServer(build_app(context), context, tls)
        settle_memory()
        if calls is not None:
            await stack.enter_async_context(calls.serving(context, stop))
        url = base_url(listener, is_safe=tls is not None)
        await server.run_on(listener, stop, lambda: announce(url, calls.address if calls else None))
        structlog.get_logger().info("server.stopped")


async def _unless(stop: asyncio.Event, work: "asyncio.Future[Service]") -> Service | None:
    """Wait for work, but not longer than until ``stop`` is set."""
    stopped = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {work, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if work.done():
        return work.result()
    work.cancel()
    await asyncio.wait({work})
    return None


def run_server(loaded: LoadedSettings, models: Sequence[str], announce: Announce) -> None:
    """Run ``serve`` on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded, models, announce))


async def _close(registry: Registry) -> None:
    try:
        async with asyncio.timeout(_CLOSE_LIMIT_S):
            await registry.aclose()
    except TimeoutError:
        # A native call that hangs cannot be interrupted, and Python would wait for its thread for ever.
        structlog.get_logger().error("engine.stop_timed_out", limit_s=_CLOSE_LIMIT_S)
        os._exit(1)


async def tune_model(
    loaded: LoadedSettings, name: str, step: Step, *, rounds: int, limit_s: float
) -> tuple[Tuned, Path]:
    """Measure how a model runs best on this machine, and keep the result; returns it, and where it is kept.

    Args:
        loaded: All options; what the user set is not varied.
        name: Name in the store.
        step: Told what is being done.
        rounds: Turns that two plans take against each other.
        limit_s: Nothing new is tried after so many seconds.

    Raises:
        ModelUnknown: The name is not in the store.
        ModelCorrupt: The model folder is not as it was written.
        StoreUnusable: The result cannot be kept.
    """
    settings = loaded.settings
    folder = await asyncio.to_thread(open_store(settings).open, name)
    effort = Effort(rounds=rounds, limit_s=limit_s, has_sizes=True)
    tuned = await _tune(folder, settings, effort, step)
    return tuned, save_tuned(settings.store.plans, folder.manifest, read_machine(), tuned)


async def _tune(folder: ModelFolder, settings: Settings, effort: Effort, step: Step) -> Tuned:
    def make_engine(plan: Plan) -> Engine:
        # In a process of its own always: a runtime that was built for another processor dies of it.
        safe = {"isolation": "process", **_TUNE_QUEUE}
        return _make_engine(folder, settings, settle(settings.engine, plan).model_copy(update=safe), Observers([]))

    reference = read_reference(folder.reference)
    return await tune(settings.engine, read_machine(), reference, make_engine, effort=effort, step=step)


async def _find_plan(folder: ModelFolder, settings: Settings, *, may_tune: bool) -> Plan:
    """Return how a model is run best here: as measured before, or as measured now in a few seconds."""
    machine = read_machine()
    tuned = find_tuned(settings.store.plans, folder.manifest, machine)
    if tuned is None and may_tune and settings.engine.tune and len(runtime_plans(settings.engine, machine)) > 1:
        log = structlog.get_logger()
        log.info("engine.tuning", model=folder.manifest.name, hint="some seconds, once; --no-tune leaves it out")
        tuned = await _tune(folder, settings, SHORT, _silently)
        log.info("engine.tuned", model=folder.manifest.name, plan=str(tuned.plan), took_s=tuned.took_s)
        if reason := _keep(tuned, folder, settings):
            log.warning("engine.plan_not_kept", model=folder.manifest.name, reason=reason)
    return make_plan(settings.engine, machine, tuned.plan if tuned else None)


def _keep(tuned: Tuned, folder: ModelFolder, settings: Settings) -> str | None:
    """Keep what was measured at a start, for the next one; returns why not, if it cannot or should not be kept."""
    if tuned.is_cut_short:
        return "the machine was too busy to try every runtime; the next start measures again"
    try:
        save_tuned(settings.store.plans, folder.manifest, read_machine(), tuned)
    except StoreUnusable as error:
        return error.message
    return None


def _silently(_text: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


async def _load(folder: ModelFolder, settings: Settings, observer: Observer, *, may_tune: bool) -> LoadedModel:
    plan = await _find_plan(folder, settings, may_tune=may_tune)
    engine = _make_engine(folder, settings, settle(settings.engine, plan), observer)
    return LoadedModel(folder.manifest, engine, plan, read_reference(folder.reference))


def _load_version(
    settings: Settings, observer: Observer, folder: ModelFolder, champion: LoadedModel, *, stands_back: bool
) -> list[LoadedModel]:
    """Make a model of another version's folder: run as was measured for it, else as the champion, else as it may be."""
    machine = read_machine()
    tuned = find_tuned(settings.store.plans, folder.manifest, machine)
    own = make_plan(settings.engine, machine, tuned.plan if tuned else None)
    plans = [own] if tuned or own == champion.plan else [champion.plan, own]
    reference = read_reference(folder.reference)
    make = _make_shadow if stands_back else _make_engine
    return [
        LoadedModel(folder.manifest, make(folder, settings, settle(settings.engine, plan), observer), plan, reference)
        for plan in plans
    ]


def _make_shadow(folder: ModelFolder, settings: Settings, sizes: EngineSettings, observer: Observer) -> Engine:
    """Return an engine that computes when nothing else wants the processor, for which it may have to wait long."""
    return SupervisedEngine(
        f"{folder.manifest.name}@shadow",
        _engine_program(folder, settings, sizes, IDLE),
        sizes,
        OfVersion(folder.manifest.revision, observer),
        Patience(batch_s=_SHADOW_BATCH_S),
    )


def _make_engine(folder: ModelFolder, settings: Settings, sizes: EngineSettings, observer: Observer) -> Engine:
    observer = OfVersion(folder.manifest.revision, observer)
    if sizes.isolation == "none":
        from headrace.engine.loaded import load_engine  # noqa: PLC0415 - the runtime, which a supervisor does without

        return load_engine(folder.path, folder.manifest, sizes, observer)
    return SupervisedEngine(folder.manifest.name, _engine_program(folder, settings, sizes, NORMAL), sizes, observer)


def _engine_program(folder: ModelFolder, settings: Settings, sizes: EngineSettings, priority: str) -> list[str]:
    # -P: the folder a service happens to be started in is no place to import from.
    program = [sys.executable, "-P", "-m", "headrace.engine_process", str(folder.path)]
    return [*program, sizes.model_dump_json(), settings.log.model_dump_json(), priority]


def _refuse_public(listener: socket.socket, *, has_keys: bool) -> None:
    """Refuse to listen where others can reach a server that asks nobody for a key."""
    host = str(listener.getsockname()[0])
    if not has_keys and not is_loopback(host):
        raise BindRefused(
            f"{host!r} can be reached from other machines and there is no API key; make one with headrace keys create, "
            "set HEADRACE_AUTH__KEYS or HEADRACE_AUTH__KEYS_FILE, or listen on 127.0.0.1"
        )


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or Ctrl-C sets; the second Ctrl-C kills."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def terminate() -> None:
        if stop.is_set():
            return
        structlog.get_logger().info("server.stopping", hint="answering what was accepted; Ctrl-C kills")
        stop.set()

    def interrupt() -> None:
        if stop.is_set():
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        terminate()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    return stop
