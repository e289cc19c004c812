"""The REST application on a service whose answers a test gives, to look at what a door asks and how it writes."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest.app import build_app
from headrace.types import Answer, Request, Result, Timings

KEY = "a-key-of-24-characters-1"


@dataclass
class Door:
    """A client, and the service behind the door."""

    client: httpx.AsyncClient
    it: ServiceUnderTest
    results: tuple[Result, ...] = ()
    error: Exception | None = None
    asked: list[Request] = field(default_factory=list)

    def answer(self, *results: Result) -> None:
        """From now on the service answers with these results."""
        self.results = results
        self.it.service.run = self._run  # type: ignore[method-assign]

    def fail(self, error: Exception) -> None:
        """From now on the service raises an error."""
        self.error = error
        self.answer()

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def _run(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        timings = Timings(queue_s=0.001, tokenize_s=0.002, run_s=0.004, total_s=0.008)
        tokens = sum(result.tokens for result in self.results)
        model = request.model or "fake"
        return Answer(
            model=model, revision="r", task=request.task, results=self.results, timings=timings, tokens=tokens, cached=0
        )


@contextlib.asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    """Give a door whose guard knows one key, which the client sends."""
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context([KEY])), raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            yield Door(client, it)
