"""What a client keeps to, whichever way it asks."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from tests.support.services import ServiceUnderTest, ask
from tests.unit.api.grpc.test_native import BODIES, RESULTS

from headrace import errors
from headrace.api.responses import Model
from headrace.client import AsyncClient
from headrace.client.base import ModelShown
from headrace.errors import HeadraceError
from headrace.options import Options
from headrace.tasks import TASKS
from headrace.types import Answer, Embedding, Request, Result, TaskName, Timings

TEXTS = ["Wasser treibt das Rad.", "", "\x00\x1f\"\\", "水が輪を回す", "🏞" * 20, "a" * 99]


async def call(client: AsyncClient, task: TaskName, texts: Sequence[str], **more: Any) -> Any:
    """Ask for a task by its name, with the body that another test sends."""
    body = dict(BODIES[task])
    options = body.pop("options", {})
    return await getattr(client, task)(texts, **{**body, **options, **more})


class ClientContract:
    """Inherited with a fixture ``client``, of a server whose service is the fixture ``it``, and whose key it has."""

    async def test_vectors_are_those_of_the_service_bit_for_bit(self, client: AsyncClient, it: ServiceUnderTest):
        texts = [f"{text[:80]}{index}" for index, text in enumerate(TEXTS * 10)]
        found = await client.embed(texts)
        expected = [
            each.values
            for start in range(0, len(texts), 8)
            for each in (await it.service.run(ask(*texts[start : start + 8]))).results
            if isinstance(each, Embedding)
        ]
        assert (found.dtype, found.shape, found.flags.writeable) == (np.float32, (60, 8), True)
        np.testing.assert_array_equal(found, np.stack(expected))

    @pytest.mark.parametrize("task", TASKS)
    async def test_a_task_is_asked_and_answered_as_in_this_process(
        self, client: AsyncClient, it: ServiceUnderTest, task: TaskName
    ):
        asked = answer_with(it, RESULTS[task])
        found = await call(client, task, ["abc"])
        if task == "embed":
            np.testing.assert_array_equal(found, [[0.5, -1.0]])
        elif task == "rerank":
            assert False, "see below"  # noqa: B011, PT015
        else:
            assert found == [RESULTS[task]]
        [request] = asked
        body = dict(BODIES[task])
        assert request.task == task
        assert request.inputs == ("abc",)
        assert request.options == Options(**body.pop("options"))
        assert {name: getattr(request, name) for name in body} == {
            name: tuple(value) if isinstance(value, list) else value for name, value in body.items()
        }
