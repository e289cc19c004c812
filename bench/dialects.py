"""How each server wants its texts, and where its answer has the vectors."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One shape of request and answer.

    Attributes:
        body: Makes the JSON value of a request from its texts.
        vectors: Finds the vectors in the JSON value of an answer; shape (n, d).
    """

    body: Callable[[Sequence[str]], Any]
    vectors: Callable[[Any], Any]


def _open_inference(texts: Sequence[str]) -> Any:
    tensor = {"name": "texts", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    return {"inputs": [{**tensor, "parameters": {"content_type": "str"}}]}


def _open_inference_vectors(answer: Any) -> Any:
    output = answer["outputs"][0]
    return np.reshape(output["data"], output["shape"])


DIALECTS: Final[Mapping[str, Dialect]] = {
    "headrace": Dialect(
        lambda texts: {"inputs": list(texts)}, lambda answer: [result["embedding"] for result in answer["results"]]
    ),
    "openai": Dialect(
        lambda texts: {"model": "minilm", "input": list(texts)},
        lambda answer: [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])],
    ),
    "texts": Dialect(lambda texts: {"texts": list(texts)}, lambda answer: answer["embeddings"]),
    "list": Dialect(lambda texts: {"texts": list(texts)}, lambda answer: answer),
    "open-inference": Dialect(_open_inference, _open_inference_vectors),
}


def request_body(dialect: str, texts: Sequence[str]) -> bytes:
    """Return the body of a request."""
    return json.dumps(DIALECTS[dialect].body(texts)).encode()


def answer_vectors(dialect: str, body: bytes) -> Vectors:
    """Return the vectors of an answer; shape (n, d), float32."""
    return np.asarray(DIALECTS[dialect].vectors(json.loads(body)), dtype=np.float32)


def http_request(port: int, path: str, body: bytes, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return a whole HTTP/1.1 request, ready to be sent; ``more`` has further headers."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return "".join([head, *(f"{name}: {value}\r\n" for name, value in more.items()), "\r\n"]).encode() + body
