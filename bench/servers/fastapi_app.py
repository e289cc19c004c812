"""sentence-transformers behind FastAPI: the server that most teams write first, without its usual mistakes.

Usage: python -m bench.servers.fastapi_app CHECKPOINT PORT [--precision bf16] [--one-at-a-time]
"""

import argparse
import contextlib
import threading
from contextlib import AbstractContextManager

import orjson
import torch
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Texts(BaseModel):
    """A request."""

    texts: list[str]


def build(model: SentenceTransformer, turn: AbstractContextManager[object]) -> FastAPI:
    """Return the application; ``turn`` is held while the model runs."""
    app = FastAPI()

    @app.post("/embed")
    def embed(request: Texts) -> Response:  # not async: FastAPI runs it in its thread pool
        with turn, torch.inference_mode():
            vectors = model.encode(request.texts, convert_to_tensor=True, show_progress_bar=False)
        body = {"embeddings": vectors.float().numpy()}
        return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return app


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("port", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--one-at-a-time", action="store_true")
    asked = parser.parse_args()
    model = SentenceTransformer(asked.checkpoint, device="cpu", local_files_only=True)
    if asked.precision == "bf16":
        model = model.bfloat16()
    turn = threading.Lock() if asked.one_at_a_time else contextlib.nullcontext()
    uvicorn.run(build(model, turn), host="127.0.0.1", port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
