"""The client over REST and over gRPC."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.contracts.client import ClientContract
from tests.support.calls import open_calls
from tests.support.doors import KEY
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest.app import build_app
from headrace.client import AsyncClient
from headrace.client.address import read_address
from headrace.client.rest import RestTransport


class TestRest(ClientContract):
    @pytest.fixture
    async def it(self) -> AsyncIterator[ServiceUnderTest]:
        async with service_under_test() as it:
            yield it

    @pytest.fixture
    async def client(self, it: ServiceUnderTest) -> AsyncIterator[AsyncClient]:
        url = "http://127.0.0.1"
        app = httpx2.ASGITransport(build_app(it.context([KEY])), raise_app_exceptions=False)
        async with AsyncClient(url, key=KEY, retries=0) as client:
            client._make = lambda: RestTransport(read_address(url, KEY), app)
            yield client


class TestGrpc(ClientContract):
    @pytest.fixture
    async def it(self) -> AsyncIterator[ServiceUnderTest]:
        async with service_under_test() as it:
            yield it

    @pytest.fixture
    async def client(self, it: ServiceUnderTest) -> AsyncIterator[AsyncClient]:
        async with (
            open_calls(keys=[KEY], it=it) as calls,
            AsyncClient(f"grpc://{calls.address}", key=KEY, retries=0) as client,
        ):
            yield client
