"""The part `offline`: a whole list of texts in, vectors out, without HTTP; and short texts one after another.

Every candidate is a process of its own that stays warm; a round asks each of them once, in turn.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

from bench.accuracy import Vectors, compare, read_vectors, reference
from bench.environments import OURS, EnvironmentUnusable, environment
from bench.facts import multiplies_bf16, own_precisions
from bench.load import short
from bench.model import NAME
from bench.places import cache_folder
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.worker import Worker, WorkerFailed, running_worker

PART: Final = "offline"
HEADRACE: Final = "Headrace"
_LIMIT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to embed a list of texts.

    Attributes:
        needs: What the processor must have instructions for.
    """

    name: str
    environment: str
    module: str
    arguments: tuple[str, ...]
    needs: str = "fp32"


def candidates(run: Run) -> list[Candidate]:
    """Return who is measured; a quick run leaves out sentence-transformers, the slowest.

    What this processor has no instructions for is left out too: with bfloat16 in many steps nobody would serve.
    """
    threads = ("--threads", str(run.threads))
    plain = (*threads, "--window", str(run.model.window), "--model", str(run.model.folder))
    ours = ("--home", str(run.model.home), "--model", NAME)
    found = [
        Candidate(HEADRACE, OURS, "headrace_service", ours),
        Candidate(f"{HEADRACE}, int8", OURS, "headrace_service", (*ours, "--precision", "int8"), "int8"),
    ]
    if not run.is_quick:
        checkpoint = (*threads, "--checkpoint", str(run.model.checkpoint))
        for title, precision, needs in (
            ("fp32", "fp32", "fp32"),
            ("bf16 autocast", "bf16-autocast", "bf16"),
            ("bf16 weights", "bf16-weights", "bf16"),
        ):
            encode = (*checkpoint, "--precision", precision)
            name = f"sentence-transformers, {title}"
            found.append(Candidate(name, "sentence-transformers", "sentence_transformers_encode", encode, needs))
    for title, runtime, precision in (
        ("ONNX Runtime, fp32", "onnx", "f32"),
        ("OpenVINO, fp32", "openvino", "f32"),
        ("OpenVINO, bf16", "openvino", "bf16"),
    ):
        for budget in (512, 2048):
            arguments = (*plain, "--runtime", runtime, "--precision", precision, "--budget", str(budget))
            needs = "bf16" if precision == "bf16" else "fp32"
            found.append(Candidate(f"{title}, budget {budget}", "runtimes", "runtimes", arguments, needs))
    computed = {"fp32", *own_precisions(), *(["bf16"] if multiplies_bf16() else [])}
    return [candidate for candidate in found if candidate.needs in computed]


def run_offline(run: Run) -> None:
    """Measure all candidates in interleaved rounds; one that cannot run is left out with its reason."""
    expected = reference(run)
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for candidate in candidates(run):
            try:
                workers[candidate.name] = _start(run, candidate, expected, stack)
            except (EnvironmentUnusable, WorkerFailed, ValueError) as error:
                _leave_out(run, candidate.name, error)
        for number in range(run.rounds):
            for name, worker in workers.items():
                if run.results.has(PART, name, number) or name in run.results.left_out:
                    continue
                try:
                    _measure(run, name, worker, number)
                except WorkerFailed as error:
                    _leave_out(run, name, error)


def _leave_out(run: Run, name: str, error: Exception) -> None:
    say(f"leaving out {name}: {error}")
    run.results.leave_out(name, str(error))


def _start(run: Run, candidate: Candidate, expected: Vectors, stack: contextlib.ExitStack) -> Worker:
    """Start a worker and warm it up by computing the vectors that are compared."""
    say(f"starting {candidate.name}")
    python = environment(candidate.environment).python
    log = f"offline-{candidate.name.replace(' ', '-').replace(',', '')}"
    arguments = (str(run.mix.path), *candidate.arguments)
    worker = stack.enter_context(running_worker(log, python, f"bench.workers.{candidate.module}", arguments))
    target = cache_folder() / "vectors.npy"
    worker.ask("vectors", within_s=_LIMIT_S, count=run.checked, target=str(target))
    if not run.results.has(f"{PART} accuracy", candidate.name, 0):
        values = compare(read_vectors(target), expected)
        run.results.add(Measurement(f"{PART} accuracy", candidate.name, 0, values))
    return worker


def _measure(run: Run, name: str, worker: Worker, number: int) -> None:
    alone = worker.ask("singly", within_s=_LIMIT_S, short=str(short(run.mix).texts))
    answer = worker.ask("run", within_s=_LIMIT_S)
    values = {
        "tokens_per_s": run.mix.tokens / answer["seconds"],
        "cpu_s_per_million_tokens": answer["cpu_s"] / run.mix.tokens * 1e6,
        "peak_rss_bytes": answer["peak_rss_bytes"],
        "alone_p50_s": alone["p50_s"],
    }
    run.results.add(Measurement(PART, name, number, values))
    say(f"round {number + 1} of {run.rounds}: {name}: {values['tokens_per_s']:,.0f} tokens/s")
