"""How near a candidate's vectors are to the reference: sentence-transformers at fp32."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.environments import environment
from bench.places import cache_folder
from bench.progress import say
from bench.run import Run
from bench.worker import running_worker

_LIMIT_S: Final = 900.0
Vectors = NDArray[np.float32]


def reference(run: Run) -> Vectors:
    """Return the reference's vectors of the first texts, from the cache if they are there; shape (n, d)."""
    name = f"{run.model.revision[:16]}-{run.mix.sha256[:16]}-{run.checked}.npy"
    kept = cache_folder() / "reference" / name
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        say(f"computing the reference vectors of {run.checked} texts")
        # A batch of one: no padding, so nothing but the model decides the reference.
        arguments = [str(run.mix.path), "--checkpoint", str(run.model.checkpoint), "--threads", str(run.threads)]
        arguments += ["--precision", "fp32", "--batch", "1"]
        python = environment("sentence-transformers").python
        with running_worker("reference", python, "bench.workers.sentence_transformers_encode", arguments) as worker:
            worker.ask("vectors", within_s=_LIMIT_S, count=run.checked, target=str(kept))
    return read_vectors(kept)


def read_vectors(path: Path) -> Vectors:
    """Read vectors that a worker wrote; shape (n, d)."""
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)


def compare(vectors: Vectors, expected: Vectors) -> dict[str, float]:
    """Return the least and the mean cosine between corresponding rows.

    Raises:
        ValueError: The shapes differ: a text has no answer, or an answer of another length.
    """
    if vectors.shape != expected.shape:
        raise ValueError(f"the vectors have shape {vectors.shape}, the reference has {expected.shape}")
    left, right = vectors.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / lengths
    return {"cosine_min": float(cosines.min()), "cosine_mean": float(cosines.mean())}
