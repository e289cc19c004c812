import pytest
from tests.contracts.bucket import BucketContract
from tests.support.s3_server import S3Server

from headrace.models.remote.address import parse_address
from headrace.models.remote.s3 import Bucket, Limits


class TestMotoBucket(BucketContract):
    @pytest.fixture
    def bucket(self, s3: S3Server) -> Bucket:
        return Bucket(parse_address(s3.address), Limits(read_s=60, attempts=1, part_bytes=5 << 20))
