"""sentence-transformers' ``encode``, which sorts by length and pads each batch to its longest text."""

import argparse
import contextlib
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from bench.workers.offline import serve


def main() -> None:
    """Answer commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16-autocast", "bf16-weights"], required=True)
    parser.add_argument("--batch", type=int, default=32, help="texts a batch; 32 is the library's default")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = SentenceTransformer(asked.checkpoint, device="cpu", local_files_only=True)
    if asked.precision == "bf16-weights":
        model = model.bfloat16()

    def precision() -> AbstractContextManager[None]:
        if asked.precision == "bf16-autocast":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def embed(texts: list[str]) -> NDArray[np.float32]:
        with torch.inference_mode(), precision():
            vectors = model.encode(texts, batch_size=asked.batch, convert_to_tensor=True, show_progress_bar=False)
        return np.asarray(vectors.float().numpy(), dtype=np.float32)

    serve(asked.texts, embed)


if __name__ == "__main__":
    main()
