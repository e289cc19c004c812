"""MLServer with sentence-transformers, as a custom runtime; its options come from variables.

Usage: MLSERVER_MODEL_IMPLEMENTATION=bench.servers.mlserver_app.Embedding mlserver start FOLDER
"""

import os

import numpy as np
import torch
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sentence_transformers import SentenceTransformer


class Embedding(MLModel):
    """Embeds the texts of the first input."""

    async def load(self) -> bool:
        """Load the model."""
        model = SentenceTransformer(os.environ["BENCH_CHECKPOINT"], device="cpu", local_files_only=True)
        self._model = model.bfloat16() if os.environ.get("BENCH_PRECISION") == "bf16" else model
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return vectors of shape (n, d)."""
        texts = StringCodec.decode_input(payload.inputs[0])
        with torch.inference_mode():
            vectors = self._model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
        output = NumpyCodec.encode_output("vectors", np.asarray(vectors.float().numpy()))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
