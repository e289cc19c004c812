"""The Open Inference Protocol, without a server; tests/clients asks with clients of it."""

import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.doors import Door, open_door

from headrace.errors import InputTooLong, QueueFull
from headrace.options import Options
from headrace.types import (
    Classification,
    Entity,
    Extraction,
    Filling,
    Finding,
    Label,
    Mask,
    ModelTask,
    Ranking,
    Regression,
    Request,
    Result,
    Span,
    Word,
)

INFER = "/v2/models/fake/infer"
SIZE = "inference-header-content-length"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def text(*texts: str, name: str = "text") -> dict[str, Any]:
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}


async def native(door: Door, *texts: str) -> Any:
    response = await door.post("/api/v1/embed", inputs=texts)
    return np.array([result["embedding"] for result in response.json()["results"]], np.float32)


async def ask(
    door: Door, task: ModelTask, results: tuple[Result, ...], *inputs: dict[str, Any], **body: Any
) -> tuple[dict[str, Any], Request]:
    """Return the outputs by name, and what the service was asked."""
    door.it.service.task_of = lambda *_: task  # type: ignore[method-assign]
    door.answer(*results)
    response = await door.post(INFER, inputs=list(inputs), **body)
    assert response.status_code == 200, response.text
    return {output.pop("name"): output for output in response.json()["outputs"]}, door.asked[0]


@pytest.mark.parametrize("name", ["text", "args", "anything"])
async def test_one_tensor_of_texts_may_have_any_name(door: Door, name: str):
    response = await door.post(INFER, id="mine", inputs=[text("a", "b c", name=name)])
    answer = response.json()
    (output,) = answer.pop("outputs")
    assert (output["name"], output["datatype"], output["shape"]) == ("embedding", "FP32", [2, 8])
    # Row after row, as Triton and MLServer write it: Triton's client for Java reads no rows in lists of their own.
    assert np.array_equal(np.array(output["data"], np.float32), (await native(door, "a", "b c")).ravel())
    assert (answer["id"], answer["model_name"]) == ("mine", "fake")


async def test_an_id_is_made_where_there_is_none(door: Door):
    response = await door.post(INFER, inputs=[text("a")])
    assert response.json()["id"] == response.headers["x-request-id"]


async def test_texts_and_numbers_travel_as_bytes_whatever_the_content_type_says(door: Door):
    data = struct.pack("<I", 1) + b"a"
    described = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    for kind in ({}, {"content-type": "application/json"}, {"content-type": "application/octet-stream"}):
        response = await door.client.post(INFER, content=head + data, headers={SIZE: str(len(head)), **kind})
        assert response.headers["content-type"] == "application/octet-stream"
        size = int(response.headers[SIZE])
        (output,) = json.loads(response.content[:size])["outputs"]
        assert output == {
            "name": "embedding",
            "datatype": "FP32",
            "shape": [1, 8],
            "parameters": {"binary_data_size": 32},
        }
        assert np.array_equal(np.frombuffer(response.content[size:], "<f4")[None], await native(door, "a"))


@pytest.mark.parametrize(("by_default", "own", "is_binary"), [(True, False, False), (False, True, True)])
async def test_what_is_said_of_one_output_wins(door: Door, by_default: bool, own: bool, is_binary: bool):
    outputs = [{"name": "embedding", "parameters": {"binary_data": own}}]
    parameters = {"binary_data_output": by_default}
    response = await door.post(INFER, inputs=[text("a")], outputs=outputs, parameters=parameters)
    assert (SIZE in response.headers) is is_binary


async def test_parameters_are_options(door: Door):
    _, asked = await ask(
        door,
        "classify",
        (LABELS,),
        text("a"),
        parameters={"truncate": "error", "priority": 3, "normalize": False, "dimensions": 4, "prompt": "p"},
    )
    assert asked.options == Options(truncate="error", normalize=False, dimensions=4, prompt="p")


LABELS = Classification(tokens=3, truncated=False, labels=(Label("good", 0.75), Label("bad", 0.25)))


async def test_labels_and_their_scores_are_two_tensors(door: Door):
    outputs, asked = await ask(door, "classify", (LABELS, LABELS), text("a", "b"))
    assert outputs["labels"] == {"datatype": "BYTES", "shape": [2, 2], "data": ["good", "bad"] * 2}
    assert outputs["scores"] == {"datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25] * 2}
    assert (asked.task, asked.inputs, asked.model) == ("classify", ("a", "b"), "fake")


async def test_only_the_outputs_that_are_asked_for_come(door: Door):
    outputs, _ = await ask(door, "classify", (LABELS,), text("a"), outputs=[{"name": "scores"}])
    assert list(outputs) == ["scores"]


async def test_labels_that_are_chosen_now_are_a_tensor(door: Door):
    labels = text("good", "bad", name="candidate_labels")
    outputs, asked = await ask(door, "zeroshot", (LABELS,), text("a", name="array_inputs"), labels)
    assert outputs["labels"]["data"] == ["good", "bad"]
    assert (asked.inputs, asked.labels) == (("a",), ("good", "bad"))


async def test_a_ranking_is_in_the_order_of_its_texts(door: Door):
    best_first = tuple(
        Ranking(tokens=3, truncated=False, index=index, score=score) for index, score in ((1, 0.75), (0, 0.25))
    )
    outputs, asked = await ask(door, "rerank", best_first, text("q", name="query"), text("a", "b"))
    assert outputs == {"scores": {"datatype": "FP32", "shape": [2], "data": [0.25, 0.75]}}
    assert (asked.query, asked.inputs) == ("q", ("a", "b"))


async def test_a_number_for_each_text(door: Door):
    outputs, _ = await ask(door, "regress", (Regression(tokens=3, truncated=False, value=1.5),), text("a"))
    assert outputs == {"value": {"datatype": "FP32", "shape": [1], "data": [1.5]}}


@pytest.mark.parametrize(
    ("task", "result", "name", "shown"),
    [
        (
            "extract",
            Extraction(tokens=3, truncated=False, entities=(Entity("PER", 0.5, 2, 5, "Ann"),)),
            "entities",
            [{"label": "PER", "score": 0.5, "start": 2, "end": 5, "text": "Ann"}],
        ),
        (
            "fill",
            Filling(tokens=3, truncated=False, masks=(Mask(0, 6, (Word("mill", 0.5),)),)),
            "masks",
            [{"start": 0, "end": 6, "words": [{"text": "mill", "score": 0.5}]}],
        ),
        (
            "answer",
            Finding(tokens=3, truncated=False, answers=(Span(0.5, 2, 5, "Ann"),), no_answer=0.25),
            "answers",
            [{"text": "Ann", "score": 0.5, "start": 2, "end": 5}],
        ),
    ],
)
async def test_what_has_no_fixed_shape_is_json_in_bytes(
    door: Door, task: ModelTask, result: Result, name: str, shown: Any
):
    inputs = [text("c", name="context"), text("q", name="question")] if task == "answer" else [text("a")]
    outputs, _ = await ask(door, task, (result,), *inputs)
    assert (outputs[name]["datatype"], outputs[name]["shape"]) == ("BYTES", [1])
    assert json.loads(outputs[name]["data"][0]) == shown


def error_of(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return str(response.json()["error"])


@pytest.mark.parametrize(
    ("task", "body", "said"),
    [
        ("embed", {}, "inputs"),
        ("embed", {"inputs": []}, "'text'"),
        ("embed", {"inputs": [text("a"), text("b")]}, "twice"),
        ("embed", {"inputs": [text("a"), text("b", name="b")]}, "'b'"),
        ("rerank", {"inputs": [text("a"), text("q", name="query"), text("b", name="b")]}, "'b'"),
        ("embed", {"inputs": [{**text("a"), "datatype": "FP32"}]}, "FP32"),
        ("embed", {"inputs": [{**text("a"), "shape": [1] * 9}]}, "shape"),
        ("embed", {"inputs": [text("a")], "outputs": [{"name": "scores"}]}, "embedding"),
        ("embed", {"inputs": [text("a")], "parameters": {"truncate": "maybe"}}, "truncate"),
        ("embed", {"inputs": [text()]}, "inputs is empty"),
        ("rerank", {"inputs": [text("a")]}, "'query'"),
        ("rerank", {"inputs": [text("a"), text("p", "q", name="query")]}, "2 queries"),
        ("rerank", {"inputs": [text("a"), text("b", name="args"), text("q", name="query")]}, "'text'"),
    ],
)
async def test_what_cannot_be_computed_is_refused_as_a_string(
    door: Door, task: ModelTask, body: dict[str, Any], said: str
):
    door.it.service.task_of = lambda *_: task  # type: ignore[method-assign]
    response = await door.post(INFER, **body)
    assert response.status_code == 400
    assert said in error_of(response)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
async def test_what_a_form_sends_is_not_read(door: Door, kind: str):
    content = json.dumps({"inputs": [text("a")]}).encode()
    response = await door.client.post(INFER, content=content, headers={"content-type": kind})
    assert response.status_code == 415
    assert "forms" in error_of(response)


@pytest.mark.parametrize(("error", "status"), [(InputTooLong("m"), 400), (QueueFull("m", retry_after_s=1), 429)])
async def test_errors_are_strings(door: Door, error: Exception, status: int):
    door.fail(error)
    response = await door.post(INFER, inputs=[text("a")])
    assert (response.status_code, error_of(response)) == (status, "m")


async def test_a_model_says_what_it_takes_and_gives(door: Door):
    model = (await door.client.get("/v2/models/fake")).json()
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 8]}]
    (version,) = model["versions"]
    assert (await door.client.get(f"/v2/models/fake/versions/{version}")).json() == model
    assert (await door.client.get("/v2/models/fake/versions/champion")).json() == model


@pytest.mark.parametrize("path", ["/v2/models/nothing", "/v2/models/fake/versions/zzz", "/v2/models/nothing/ready"])
async def test_what_is_not_there_is_not_found(door: Door, path: str):
    response = await door.client.get(path)
    assert response.status_code == 404
    error_of(response)


async def test_a_version_is_asked_by_its_name(door: Door):
    response = await door.post("/v2/models/fake/versions/champion/infer", inputs=[text("a")])
    assert response.status_code == 200
    assert (await door.post("/v2/models/fake/versions/zzz/infer", inputs=[text("a")])).status_code == 404


async def test_the_server_says_what_it_is_and_which_models_it_has(door: Door):
    for path in ("/v2", "/v2/"):
        assert (await door.client.get(path)).json()["extensions"] == [
            "binary_tensor_data",
            "model_repository",
            "parameters",
            "statistics",
        ]
    (model,) = (await door.client.post("/v2/repository/index")).json()
    assert (model["name"], model["state"]) == ("fake", "READY")


async def test_health_needs_no_key_and_tells_when_the_server_stops(door: Door):
    nobody = {"authorization": ""}
    assert (await door.client.get("/v2/health/live", headers=nobody)).json() == {"live": True}
    assert (await door.client.get("/v2/health/ready", headers=nobody)).json() == {"ready": True}
    assert (await door.client.get("/v2/models/fake/ready")).json() == {"name": "fake", "ready": True}
    await door.it.registry.aclose()
    for path in ("/v2/health/ready", "/v2/models/fake/ready"):
        assert (await door.client.get(path)).status_code == 503


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v2"), ("GET", "/v2/models/fake"), ("POST", INFER), ("POST", "/v2/repository/index")]
)
async def test_without_a_key_there_is_no_answer(door: Door, method: str, path: str):
    response = await door.client.request(method, path, headers={"authorization": ""})
    assert response.status_code == 401
    error_of(response)
