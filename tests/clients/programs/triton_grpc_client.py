"""Asks with Triton's own client of gRPC, one call at a time and in a stream."""

import queue
from functools import partial

import numpy as np
import tritonclient.grpc as triton
from expected import GRPC, KEY, LABELS, QUERY, RANKING, TEXTS, VECTORS, refusal

HEADERS = {"authorization": f"Bearer {KEY}"}
client = triton.InferenceServerClient(GRPC)


def tensor(name: str, texts: list[str]) -> triton.InferInput:
    made = triton.InferInput(name, (len(texts),), "BYTES")
    made.set_data_from_numpy(np.array(texts, dtype=object))
    return made


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("tiny", headers=HEADERS)
missing = refusal(triton.InferenceServerException, lambda: client.is_model_ready("nothing", headers=HEADERS))
assert "'nothing'" in str(missing), missing
assert client.get_server_metadata(headers=HEADERS).name == "headrace"
metadata = client.get_model_metadata("tiny", headers=HEADERS)
assert metadata.outputs[0].name == "embedding"
assert "tiny" in {model.name for model in client.get_model_repository_index(headers=HEADERS).models}

expected = np.array(VECTORS, np.float32)
answer = client.infer("tiny", [tensor("text", TEXTS)], headers=HEADERS, request_id="mine")
assert np.array_equal(answer.as_numpy("embedding"), expected)
assert answer.get_response().id == "mine"
version = metadata.versions[0]
answer = client.infer("tiny", [tensor("text", TEXTS)], model_version=version, headers=HEADERS, client_timeout=10)
assert np.array_equal(answer.as_numpy("embedding"), expected)

judged = client.infer("judge", [tensor("text", TEXTS)], headers=HEADERS)
assert [[name.decode() for name in row] for row in judged.as_numpy("labels")] == [
    [each["label"] for each in labels] for labels in LABELS
]
ranked = client.infer("ranker", [tensor("query", [QUERY]), tensor("text", TEXTS)], headers=HEADERS)
assert np.allclose(ranked.as_numpy("scores"), [score for _, score in sorted(RANKING)])

stats = client.get_inference_statistics("tiny", headers=HEADERS).model_stats
assert [each.name for each in stats] == ["tiny"]
assert stats[0].inference_stats.success.count >= 2

found: "queue.Queue[tuple[triton.InferResult | None, Exception | None]]" = queue.Queue()
client.start_stream(partial(lambda results, result, error: results.put((result, error)), found), headers=HEADERS)
for index, text in enumerate(TEXTS):
    client.async_stream_infer("tiny", [tensor("text", [text])], request_id=str(index))
client.async_stream_infer("nothing", [tensor("text", TEXTS)])
for index in range(len(TEXTS)):
    result, error = found.get(timeout=20)
    assert error is None, error
    assert result is not None
    assert result.get_response().id == str(index)
    assert np.array_equal(result.as_numpy("embedding")[0], expected[index])
result, error = found.get(timeout=20)
assert "'nothing'" in str(error)
client.stop_stream()

denied = refusal(triton.InferenceServerException, lambda: client.infer("tiny", [tensor("text", TEXTS)]))
assert denied.status() == "StatusCode.UNAUTHENTICATED", denied
