"""What a client keeps to, whichever way it asks."""

import asyncio
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from tests.support.bodies import BODIES, RESULTS
from tests.support.services import ServiceUnderTest, ask

from headrace import errors
from headrace.api.responses import Model
from headrace.client import AsyncClient
from headrace.client.base import ModelShown
from headrace.errors import HeadraceError
from headrace.observe.base import RequestFinished
from headrace.options import Options
from headrace.tasks import TASKS
from headrace.types import Answer, Embedding, Request, Result, TaskName, Timings

TEXTS = ["Wasser treibt das Rad.", "", '\x00\x1f"\\', "水が輪を回す", "🏞" * 20, "a" * 79]
ODD = 0.1 + 0.2  # needs all of a double's digits


class ClientContract:
    """Inherited with a fixture ``client`` without retries, of a server whose service is the fixture ``it``."""

    async def test_vectors_are_those_of_the_service_bit_for_bit(self, client: AsyncClient, it: ServiceUnderTest):
        texts = [f"{text}{index}" for index, text in enumerate(TEXTS * 10)]
        found = await client.embed(texts)  # the service takes 8 at once
        expected = [
            each.values
            for start in range(0, len(texts), 8)
            for each in (await it.service.run(ask(*texts[start : start + 8]))).results
            if isinstance(each, Embedding)
        ]
        assert found.dtype == np.float32
        assert (found.shape, found.flags.writeable) == ((60, 8), True)
        np.testing.assert_array_equal(found, np.stack(expected))

    @pytest.mark.parametrize("task", TASKS)
    async def test_a_task_is_asked_and_answered_as_in_this_process(
        self, client: AsyncClient, it: ServiceUnderTest, task: TaskName
    ):
        count = 1 if task == "rerank" else 2  # as many as its options ask for
        asked = replace_service(it, [RESULTS[task]] * count)
        body = dict(BODIES[task])
        options = body.pop("options")
        found = await getattr(client, task)(["abc", "ö"], **body, **options)
        if task == "embed":
            np.testing.assert_array_equal(found, [[0.5, -1.0]] * 2)
        else:
            assert found == [RESULTS[task]] * count
        [request] = asked
        assert (request.task, request.inputs, request.options) == (task, ("abc", "ö"), Options(**options))
        assert (request.model, request.query) == (body.get("model"), body.get("query"))
        assert request.labels == tuple(body.get("labels", ()))

    async def test_numbers_come_exactly(self, client: AsyncClient, it: ServiceUnderTest):
        known = type(RESULTS["similarity"])(score=ODD, tokens=1, truncated=False)  # type: ignore[call-arg]
        replace_service(it, [known])
        assert await client.similarity(["a"], "b") == [known]

    @pytest.mark.parametrize(
        "error",
        [
            errors.RequestInvalid("it is wrong", field="options.top_k"),
            errors.InputTooLong("long", field="inputs[1]"),
            errors.ModelUnknown("unknown", field="model"),
            errors.TaskUnsupported("another"),
            errors.AccessDenied("no"),
            errors.LimitExceeded("later", retry_after_s=7),
            errors.QueueFull("full", retry_after_s=2),
            errors.ServiceStopping("stops", retry_after_s=1),
            errors.EngineFailed("failed", field="inputs[0]"),
            errors.OutputInvalid("no number", field="inputs[1]"),
            errors.DeadlineExceeded("late"),
        ],
    )
    async def test_an_error_comes_as_it_was_raised(
        self, client: AsyncClient, it: ServiceUnderTest, error: HeadraceError
    ):
        replace_service(it, error)
        with pytest.raises(type(error)) as caught:
            await client.embed(["a", "b"])
        found = caught.value
        assert (found.code, found.message, found.field) == (error.code, error.message, error.field)
        assert found.retry_after_s == error.retry_after_s

    @pytest.mark.parametrize(
        ("given", "code", "field"),
        [
            ({"texts": ["a"] * 9 + ["w " * 40], "truncate": "error"}, "input.too_long", "inputs[9]"),
            ({"texts": ["a"] * 9 + ["a" * 101]}, "request.too_large", "inputs[9]"),
            ({"prompt": "none"}, "request.invalid", "options.prompt"),
            ({"dimensions": 0}, "request.invalid", "options.dimensions"),
            ({"dimensions": "many"}, "request.invalid", "options.dimensions"),
            ({"dimensions": 1 << 40}, "request.invalid", "options.dimensions"),
            ({"truncate": "some"}, "request.invalid", "options.truncate"),
            ({"speed": 2}, "request.invalid", "options.speed"),
            ({"model": "none"}, "model.unknown", "model"),
            ({"model": "../etc"}, "model.unknown", "model"),
        ],
    )
    async def test_a_verdict_names_what_is_wrong(
        self, client: AsyncClient, given: dict[str, Any], code: str, field: str
    ):
        with pytest.raises(HeadraceError) as caught:
            await client.embed(**{"texts": ["a"], **given})
        assert (caught.value.code, caught.value.field) == (code, field)

    async def test_an_error_nobody_foresaw_is_one(self, client: AsyncClient, it: ServiceUnderTest):
        replace_service(it, ZeroDivisionError("secret"))
        with pytest.raises(errors.ServerFailed) as caught:
            await client.embed(["a"])
        assert "secret" not in str(caught.value)

    async def test_the_server_is_told_how_long_the_caller_waits(self, client: AsyncClient, it: ServiceUnderTest):
        it.backend.gate.clear()
        client._limits = type(client._limits)(timeout_s=0.2, retries=0, max_inputs=8, max_requests=2)
        with pytest.raises((errors.TimeoutElapsed, errors.DeadlineExceeded)):
            await client.embed(["a"])
        outcome = ""
        while not outcome:  # the server gives up, too, long before its own limit of 30 s
            await asyncio.sleep(0.01)
            outcome = next((fact.outcome for fact in it.recorder.of(RequestFinished)), "")
        assert outcome in {"deadline.exceeded", "caller.left"}

    async def test_models_are_told(self, client: AsyncClient):
        [model] = await client.models()
        assert (model.name, model.role, model.task, model.dimensions) == ("fake", "champion", "embed", 8)
        assert (model.share, model.mask, model.labels, model.prompts) == (None, None, (), {})
        assert {field.name for field in fields(ModelShown)} == set(Model.model_fields)


def replace_service(it: ServiceUnderTest, outcome: list[Result] | Exception) -> list[Request]:
    """From now on a service answers so; returns what it is asked."""
    asked: list[Request] = []

    async def run(request: Request) -> Answer:
        asked.append(request)
        if isinstance(outcome, Exception):
            raise outcome
        return Answer(
            model="fake", revision="r", task=request.task, results=tuple(outcome), timings=Timings(), tokens=7, cached=0
        )

    it.service.run = run  # type: ignore[method-assign]
    return asked
