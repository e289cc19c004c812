"""A remote store in an empty bucket."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.s3_server import S3Server

from headrace.models.remote.address import parse_address
from headrace.models.remote.s3 import Bucket, Limits
from headrace.models.remote.store import RemoteStore
from headrace.models.store import LocalStore

ONCE = Limits(read_s=60, attempts=1, part_bytes=5 << 20)
IMPATIENT = Limits(read_s=0.2, attempts=1)


@pytest.fixture(scope="session")
def _clients() -> dict[Limits, Any]:
    """Clients that were made: to make one takes as long as ten tests."""
    return {}


def bucket_of(s3: S3Server, limits: Limits, clients: dict[Limits, Any]) -> Bucket:
    found = Bucket(parse_address(s3.address), limits, clients.get(limits))
    clients[limits] = found.client
    return found


@pytest.fixture
def bucket(s3: S3Server, _clients: dict[Limits, Any]) -> Bucket:
    return bucket_of(s3, ONCE, _clients)


@pytest.fixture
def impatient_bucket(s3: S3Server, _clients: dict[Limits, Any]) -> Bucket:
    return bucket_of(s3, IMPATIENT, _clients)


@pytest.fixture
def remote(bucket: Bucket) -> RemoteStore:
    return RemoteStore(bucket)


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    """The store of another machine."""
    return LocalStore(tmp_path / "other" / "models")
