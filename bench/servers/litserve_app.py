"""LitServe with sentence-transformers.

Usage: python -m bench.servers.litserve_app CHECKPOINT PORT [--precision bf16] [--batch REQUESTS]
"""

import argparse
from typing import Any

import litserve
import torch
from sentence_transformers import SentenceTransformer


class EmbeddingApi(litserve.LitAPI):
    """Embeds the texts of a request, or of all requests of a batch at once."""

    def __init__(self, checkpoint: str, precision: str, **options: Any) -> None:
        super().__init__(**options)
        self._checkpoint = checkpoint
        self._precision = precision

    def setup(self, device: str) -> None:
        """Load the model."""
        model = SentenceTransformer(self._checkpoint, device=device, local_files_only=True)
        self._model = model.bfloat16() if self._precision == "bf16" else model

    def decode_request(self, request: dict[str, list[str]]) -> list[str]:
        """Take the texts out of a request."""
        return request["texts"]

    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        """Keep requests apart; ``predict`` joins their texts."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return one output for each request."""
        return output

    def predict(self, inputs: Any) -> Any:
        """Embed the texts of one request, or of a list of requests."""
        requests = inputs if inputs and isinstance(inputs[0], list) else [inputs]
        texts = [text for request in requests for text in request]
        with torch.inference_mode():
            vectors = self._model.encode(texts, convert_to_tensor=True, show_progress_bar=False).float().numpy()
        answers, start = [], 0
        for request in requests:
            answers.append(vectors[start : start + len(request)].tolist())
            start += len(request)
        return answers if requests is inputs else answers[0]

    def encode_response(self, output: list[list[float]]) -> dict[str, list[list[float]]]:
        """Put the vectors into an answer."""
        return {"embeddings": output}


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("port", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=1, help="requests; 1 is LitServe's default")
    asked = parser.parse_args()
    batching = {"max_batch_size": asked.batch, "batch_timeout": 0.005} if asked.batch > 1 else {}
    api = EmbeddingApi(asked.checkpoint, asked.precision, **batching)
    server = litserve.LitServer(api, accelerator="cpu", timeout=60)
    server.run(host="127.0.0.1", port=asked.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
