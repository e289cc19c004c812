"""Asks with Triton's own client of HTTP, which sends texts as bytes and asks for bytes by itself."""

from typing import Any

import numpy as np
import tritonclient.http as triton
from expected import KEY, LABELS, QUERY, RANKING, TEXTS, URL, VECTORS, refusal

HEADERS = {"authorization": f"Bearer {KEY}"}
client = triton.InferenceServerClient(URL.removeprefix("http://"))


def tensor(name: str, texts: list[str], *, is_binary: bool = True, shape: tuple[int, ...] = ()) -> triton.InferInput:
    made = triton.InferInput(name, shape or (len(texts),), "BYTES")
    made.set_data_from_numpy(np.array(texts, dtype=object).reshape(shape or -1), binary_data=is_binary)
    return made


def infer(model: str, *inputs: triton.InferInput, **options: Any) -> triton.InferResult:
    return client.infer(model, list(inputs), headers=dict(HEADERS), **options)  # it writes into them


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("tiny", headers=HEADERS)
assert not client.is_model_ready("nothing", headers=HEADERS)
assert client.get_server_metadata(headers=HEADERS)["name"] == "headrace"
metadata = client.get_model_metadata("tiny", headers=HEADERS)
assert metadata["outputs"][0]["name"] == "embedding"
assert "tiny" in {model["name"] for model in client.get_model_repository_index(headers=HEADERS)}


def successes(model: str, **options: Any) -> int:
    counted = client.get_inference_statistics(model, headers=HEADERS, **options)["model_stats"]
    assert {each["name"] for each in counted} == {model}
    return sum(each["inference_stats"]["success"]["count"] for each in counted)


client.load_model("tiny", headers=HEADERS)
for refused in (
    lambda: client.load_model("tiny", headers=HEADERS, config='{"backend": "python"}'),
    lambda: client.unload_model("tiny", headers=HEADERS),
    lambda: client.load_model("nothing", headers=HEADERS),
):
    assert str(refusal(triton.InferenceServerException, refused))
assert client.is_model_ready("tiny", headers=HEADERS)


expected = np.array(VECTORS, np.float32)
asked_before = successes("tiny")
for given in (
    tensor("text", TEXTS),
    tensor("text", TEXTS, is_binary=False),
    tensor("TEXT", TEXTS, shape=(len(TEXTS), 1)),
):
    assert np.array_equal(infer("tiny", given).as_numpy("embedding"), expected)
as_json = [triton.InferRequestedOutput("embedding", binary_data=False)]
assert np.array_equal(infer("tiny", tensor("text", TEXTS), outputs=as_json).as_numpy("embedding"), expected)
version = metadata["versions"][0]
answer = infer(
    "tiny", tensor("text", TEXTS), model_version=version, request_id="mine", request_compression_algorithm="gzip"
)
assert np.array_equal(answer.as_numpy("embedding"), expected)
assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("mine", version)

assert successes("tiny") == successes("tiny", model_version=version) == asked_before + 5
statistics = client.get_inference_statistics(headers=HEADERS)["model_stats"]
(tiny,) = (each for each in statistics if each["name"] == "tiny")
assert tiny["version"] == version
assert tiny["inference_count"] == sum(
    each["batch_size"] * each["compute_infer"]["count"] for each in tiny["batch_stats"]
)
assert tiny["inference_stats"]["cache_hit"]["count"] >= 3  # what is asked again is remembered
assert "statistics" in client.get_server_metadata(headers=HEADERS)["extensions"]

judged = infer("judge", tensor("text", TEXTS))
assert [[name.decode() for name in row] for row in judged.as_numpy("labels")] == [
    [each["label"] for each in labels] for labels in LABELS
]
assert np.allclose(judged.as_numpy("scores"), [[each["score"] for each in labels] for labels in LABELS])

scores = infer("ranker", tensor("query", [QUERY]), tensor("text", TEXTS)).as_numpy("scores")
assert np.allclose(scores, [score for _, score in sorted(RANKING)])

at_once = [client.async_infer("tiny", [tensor("text", TEXTS)], headers=dict(HEADERS)) for _ in range(4)]
assert all(np.array_equal(each.get_result().as_numpy("embedding"), expected) for each in at_once)

missing = refusal(triton.InferenceServerException, lambda: infer("nothing", tensor("text", TEXTS)))
assert "'nothing'" in str(missing), missing
unknown = refusal(triton.InferenceServerException, lambda: successes("nothing"))
assert "'nothing'" in str(unknown), unknown
wrong = refusal(triton.InferenceServerException, lambda: infer("ranker", tensor("text", TEXTS)))
assert "'query'" in str(wrong), wrong
