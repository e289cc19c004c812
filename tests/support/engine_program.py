"""The program of an engine process on the fake engine; some words do to it what native code can do.

``segv`` ends the process by a real SIGSEGV, ``hang`` never returns, ``slow`` takes 4 s, ``exit`` ends the process
without a signal; the text ``stall`` hangs the tokenizer. A first argument of ``crash`` dies while it starts,
``corrupt`` refuses its model, ``once:PATH`` dies while it starts until the file is there, ``mute`` never says that it
is ready.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray

from headrace.engine.base import Encoding, Engine, TokenBatch, Watch
from headrace.engine.fake import FakeBackend, FakeTokenizer, token_id
from headrace.engine.loaded import LoadedEngine
from headrace.engine.worker import Handles, run_worker
from headrace.errors import HeadraceError, ModelCorrupt
from headrace.observe.base import Observer
from headrace.options import Truncate
from headrace.settings import EngineSettings
from headrace.types import Text


class DangerousTokenizer(FakeTokenizer):
    """Hangs on a text that is ``stall``."""

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        while "stall" in texts:
            time.sleep(1)
        return super().encode(texts, truncate)


class DangerousBackend(FakeBackend):
    """Does what its texts say."""

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        ids = set(np.unique(batch.input_ids).tolist())
        if token_id("segv") in ids:
            signal.raise_signal(signal.SIGSEGV)  # in this thread, as a fault is: os.kill lets it run on for a while
        if token_id("exit") in ids:
            os._exit(3)
        if token_id("slow") in ids:
            time.sleep(4)  # long, so that a test on a busy machine still acts while it runs
        while token_id("hang") in ids:
            time.sleep(1)
        return super().run(batch)


def make_backend() -> FakeBackend:
    backend = DangerousBackend()
    backend.poison = frozenset({"poison"})
    backend.nan = frozenset({"nan"})
    return backend


def misbehave(how: str) -> None:
    """Fail to start, if that is asked for."""
    if how == "crash" or (how.startswith("once:") and not Path(how.removeprefix("once:")).exists()):
        signal.raise_signal(signal.SIGSEGV)
    if how == "mute":
        time.sleep(60)
    if how == "corrupt":
        raise ModelCorrupt("model.onnx is not as it was written; import the model again")


def main(arguments: list[str]) -> None:
    settings = EngineSettings.model_validate_json(arguments[1])

    def make_engine(observer: Observer, watch: Watch) -> Engine:
        misbehave(arguments[0])
        return LoadedEngine("fake", lambda: DangerousTokenizer(16), make_backend, settings, observer, watch)

    run_worker(Handles.parse(arguments), make_engine, uvloop.new_event_loop)


if __name__ == "__main__":
    main(sys.argv[1:])
