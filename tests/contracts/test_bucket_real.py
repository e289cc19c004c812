"""The same with a real server: set AWS_ENDPOINT_URL and what else boto3 needs, and S3_ADDRESS to s3://BUCKET/PREFIX."""

import os
import secrets

import pytest
from tests.contracts.bucket import BucketContract

from headrace.models.remote.address import parse_address
from headrace.models.remote.s3 import Bucket, Limits


@pytest.mark.connected
class TestRealBucket(BucketContract):
    @pytest.fixture
    def bucket(self) -> Bucket:
        if "S3_ADDRESS" not in os.environ:
            pytest.skip("S3_ADDRESS names no bucket")
        address = parse_address(f"{os.environ['S3_ADDRESS']}/test-{secrets.token_hex(8)}")
        return Bucket(address, Limits(part_bytes=5 << 20))
