"""The program of an engine process on a real model that fails where a text says so.

A marker is a run of words of a text: ``crash`` ends the process by a real SIGSEGV, ``fail`` makes the runtime raise for
the whole batch, ``nan`` makes it answer NaN for that text alone. All else is the engine that is served.
"""

import hashlib
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import uvloop
from numpy.typing import NDArray

from headrace.engine.base import Backend, Bell, Engine, Steps, TokenBatch, Watch, in_one_go
from headrace.engine.loaded import LoadedEngine
from headrace.engine.onnx import OnnxBackend
from headrace.engine.tokenizer import FastTokenizer
from headrace.engine.worker import Handles, run_worker
from headrace.models.folder import GRAPH, TOKENIZER, read_manifest
from headrace.observe.base import Observer
from headrace.observe.logs import configure_logs
from headrace.settings import EngineSettings, LogSettings

Markers = Mapping[str, Sequence[int]]


class FaultyBackend:
    """Does what the markers in its texts say, and writes down what it runs.

    Args:
        inner: Runs the model.
        markers: Token ids by the fault they stand for.
        log: A line for each batch is added: when it began (monotonic clock), then a digest of each text's ids.
    """

    def __init__(self, inner: Backend, markers: Markers, log: Path) -> None:
        self._inner = inner
        self._markers = markers
        self._log = log.open("a", encoding="ascii", buffering=1)  # a line at a time: the process may die any moment

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, unless a text says otherwise."""
        rows = [ids[mask == 1].tolist() for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
        self._log.write(f"{time.monotonic()} {' '.join(map(digest, rows))}\n")
        if self._find("crash", rows):
            signal.raise_signal(signal.SIGSEGV)  # in this thread, as a fault is: os.kill lets it run on for a while
        if self._find("fail", rows):
            raise RuntimeError("a text says that the runtime fails")
        outputs = {name: array.copy() for name, array in self._inner.run(batch).items()}
        outputs["embedding"][self._find("nan", rows)] = np.nan
        return outputs

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:  # noqa: ARG002 - as every backend
        """Compute a batch as ``run`` does, in one go."""
        return in_one_go(self.run, batch)

    def close(self) -> None:
        """Release the model."""
        self._inner.close()
        self._log.close()

    def _find(self, fault: str, rows: Sequence[Sequence[int]]) -> list[int]:
        """Return the places of the texts that hold a marker."""
        marker = list(self._markers[fault])
        size = len(marker)
        return [
            place
            for place, row in enumerate(rows)
            if any(row[start : start + size] == marker for start in range(len(row) - size + 1))
        ]


def digest(ids: Sequence[int]) -> str:
    """Return what a text is known by in the log."""
    return hashlib.sha256(np.asarray(ids, dtype=np.int64).tobytes()).hexdigest()[:16]


def main(arguments: Sequence[str]) -> None:
    """Be an engine until the supervisor hangs up.

    Args:
        arguments: The model folder, the engine's settings and the words by fault as JSON, the log, then what
            ``Handles`` says.
    """
    configure_logs(LogSettings(level="error"), sys.stderr)  # a warning for each text that fails would be thousands
    folder, settings = Path(arguments[0]), EngineSettings.model_validate_json(arguments[1])
    words, log = json.loads(arguments[2]), Path(arguments[3])
    counter = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    markers = {fault: counter.encode(word, add_special_tokens=False).ids for fault, word in words.items()}

    def make_backend() -> Backend:
        return FaultyBackend(OnnxBackend(folder / GRAPH, settings.threads or 1), markers, log)

    def make_engine(observer: Observer, watch: Watch) -> Engine:
        manifest = read_manifest(folder)
        tokenizer = folder / TOKENIZER
        return LoadedEngine(
            manifest.name,
            lambda: FastTokenizer(tokenizer, manifest.max_tokens),
            make_backend,
            settings,
            observer,
            watch,
        )

    run_worker(Handles.parse(arguments), make_engine, uvloop.new_event_loop)


if __name__ == "__main__":
    main(sys.argv[1:])
