"""The part `limits`: what this machine could do at most."""

from typing import Final

from bench.environments import environment
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.worker import WorkerFailed, running_worker

PART: Final = "limits"
_ROWS: Final = (512, 2048)  # tokens in a batch: the two budgets that the runtimes are measured with
_LIMIT_S: Final = 120.0
PRODUCTS: Final = {
    "fp32": "matrix products, fp32 (PyTorch)",
    "numpy_fp32": "matrix products, fp32 (NumPy)",
    "bf16": "matrix products, bf16 (PyTorch, oneDNN)",
    "int8": "matrix products, int8 (PyTorch, oneDNN)",
}
COPY: Final = "memory copy"


def run_limits(run: Run) -> None:
    """Measure the limits, all of them in each round."""
    shapes = {"threads": run.threads, "hidden": run.model.hidden, "inner": run.model.inner, "layers": run.model.layers}
    arguments = [word for name, value in shapes.items() for word in (f"--{name}", str(value))]
    python = environment("sentence-transformers").python
    variables = {"OPENBLAS_NUM_THREADS": str(run.threads)}
    with running_worker("limits", python, "bench.workers.limits", arguments, variables) as worker:
        for number in range(run.rounds):
            say(f"limits, round {number + 1} of {run.rounds}")
            for command, title in PRODUCTS.items():
                for rows in _ROWS:
                    candidate = f"{title}, {rows} rows"
                    if run.results.has(PART, candidate, number) or candidate in run.results.left_out:
                        continue
                    try:
                        values = worker.ask(command, within_s=_LIMIT_S, rows=rows)
                    except WorkerFailed as error:  # a processor or a PyTorch without that product
                        run.results.leave_out(candidate, str(error))
                        continue
                    run.results.add(Measurement(PART, candidate, number, values))
            if not run.results.has(PART, COPY, number):
                run.results.add(Measurement(PART, COPY, number, worker.ask("copy", within_s=_LIMIT_S)))
