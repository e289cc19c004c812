"""The runtimes without any service around them, on the graph that Headrace serves.

Texts are sorted by length and cut into batches of a token budget: what a careful script would do.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bench.workers.offline import serve

Feeds = dict[str, NDArray[np.int64]]
Run = Callable[[Feeds], NDArray[np.float32]]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield the places of the texts of each batch, longest texts first; a text over the budget runs alone."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        size = max(1, budget // lengths[order[start]])
        yield order[start : start + size]
        start += size


def pad(ids: Sequence[Sequence[int]]) -> Feeds:
    """Lay texts into one rectangle, padded on the right with 0."""
    shape = (len(ids), max(map(len, ids)))
    feeds = {"input_ids": np.zeros(shape, np.int64), "attention_mask": np.zeros(shape, np.int64)}
    for row, own in enumerate(ids):
        feeds["input_ids"][row, : len(own)] = own
        feeds["attention_mask"][row, : len(own)] = 1
    return feeds


def load_onnx(path: str, threads: int) -> Run:
    """Load a graph into ONNX Runtime."""
    import onnxruntime  # noqa: PLC0415 - each worker loads the one runtime it measures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feeds: np.asarray(session.run(["embedding"], feeds)[0], dtype=np.float32)


def load_openvino(path: str, threads: int, precision: str) -> Run:
    """Load a graph into OpenVINO."""
    import openvino  # noqa: PLC0415 - as above

    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda feeds: np.array(request.infer(feeds)["embedding"], dtype=np.float32)


def main() -> None:
    """Answer commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts")
    parser.add_argument("--runtime", choices=["onnx", "openvino"], required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--model", required=True, help="folder with model.onnx and tokenizer.json")
    asked = parser.parse_args()
    tokenizer = tokenizers.Tokenizer.from_file(f"{asked.model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=asked.window)
    graph = f"{asked.model}/model.onnx"
    if asked.runtime == "onnx":
        run = load_onnx(graph, asked.threads)
    else:
        run = load_openvino(graph, asked.threads, asked.precision)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        places = list(batches([len(own) for own in ids], asked.budget))
        rows = np.concatenate([run(pad([ids[place] for place in batch])) for batch in places])
        vectors = np.empty_like(rows)
        vectors[np.concatenate([np.asarray(batch) for batch in places])] = rows
        return vectors

    serve(asked.texts, embed)


if __name__ == "__main__":
    main()
