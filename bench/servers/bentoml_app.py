"""BentoML with sentence-transformers; its options come from variables, since BentoML imports this file.

Usage: BENCH_CHECKPOINT=... bentoml serve bench.servers.bentoml_app:Embedding
"""

import os

import bentoml
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

_MAX_BATCH = int(os.environ.get("BENCH_MAX_BATCH", "100"))  # texts; 100 is BentoML's default
_MAX_LATENCY_MS = int(os.environ.get("BENCH_MAX_LATENCY_MS", "60000"))  # BentoML's default


@bentoml.service
class Embedding:
    """Embeds texts, in adaptive batches."""

    def __init__(self) -> None:
        model = SentenceTransformer(os.environ["BENCH_CHECKPOINT"], device="cpu", local_files_only=True)
        self._model = model.bfloat16() if os.environ.get("BENCH_PRECISION") == "bf16" else model

    @bentoml.api(batchable=True, max_batch_size=_MAX_BATCH, max_latency_ms=_MAX_LATENCY_MS)
    def embed(self, texts: list[str]) -> np.ndarray:
        """Return vectors of shape (n, d)."""
        with torch.inference_mode():
            vectors = self._model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
        return np.asarray(vectors.float().numpy())
