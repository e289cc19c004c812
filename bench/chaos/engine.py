"""The engine that parts of this program break: the served model in a supervised process, with faults on demand."""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bench.workers.faulty_engine import digest
from headrace.engine.base import Job, Output
from headrace.engine.supervised import SupervisedEngine
from headrace.errors import HeadraceError
from headrace.machine import read_machine
from headrace.observe.base import EngineRestarted, Fact
from headrace.settings import EngineSettings

PROGRAM: Final = Path(__file__).parents[1] / "workers/faulty_engine.py"
LIMIT_S: Final = 300.0
# Words that no text of the mix holds.
MARKERS: Final[Mapping[str, str]] = {"crash": "qzxcrash", "fail": "qzxfail", "nan": "qzxnan"}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the faults are played on.

    Attributes:
        folder: The model folder.
        texts: Healthy ones, all different and short.
        long: A text over the model's window.
        markers: Words that stand for faults.
    """

    folder: Path
    texts: Sequence[str]
    long: str
    markers: Mapping[str, str] = field(default_factory=lambda: MARKERS)


@dataclass(slots=True)
class Restarts:
    """An observer that remembers restarts.

    Attributes:
        down_s: For each, the time from the end of a process until the next one answered.
    """

    down_s: list[float] = field(default_factory=list)

    def observe(self, fact: Fact) -> None:
        """Take note of a fact."""
        if isinstance(fact, EngineRestarted):
            self.down_s.append(fact.down_s)


@dataclass(frozen=True, slots=True)
class Faulty:
    """A running engine.

    Attributes:
        log: What it runs, as its program writes it down.
    """

    engine: SupervisedEngine
    settings: EngineSettings
    restarts: Restarts
    log: Path

    def runs(self) -> Iterator[tuple[float, list[str]]]:
        """Yield each batch so far: when it began (monotonic clock), and the digests of its texts."""
        for line in self.log.read_text(encoding="ascii").splitlines():
            began, *digests = line.split()
            yield float(began), digests


@contextlib.asynccontextmanager
async def running_faulty(stage: Stage) -> AsyncIterator[Faulty]:
    """Run the engine for the length of the block."""
    # Refusing is not what is tested here: whatever is asked is let in.
    settings = EngineSettings(threads=read_machine().threads, max_wait_s=3600.0)
    restarts = Restarts()
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as scratch:
        log = Path(scratch) / "runs.log"
        options = [str(stage.folder), settings.model_dump_json(), json.dumps(dict(stage.markers)), str(log)]
        engine = SupervisedEngine("chaos", [sys.executable, str(PROGRAM), *options], settings, restarts)
        await engine.start()
        try:
            yield Faulty(engine, settings, restarts, log)
        finally:
            await engine.aclose()


def make_job(texts: Sequence[str]) -> Job:
    """Return a job that refuses texts over the window."""
    return Job(texts=tuple(texts), truncate="error", deadline=time.monotonic() + LIMIT_S)


def embedding(item: Output | HeadraceError) -> NDArray[np.float32]:
    """Return a text's vector of length 1; shape (d,).

    Raises:
        HeadraceError: It has none.
    """
    if isinstance(item, HeadraceError):
        raise item
    return np.asarray(item.windows[0].arrays["embedding"], dtype=np.float32)


def digests(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return what each text is known by in the log of the engine."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [digest(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
