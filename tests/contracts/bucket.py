"""What every S3 server must do for a remote store."""

import os
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ModelCorrupt, StoreUnusable
from headrace.models.folder import describe_file
from headrace.models.remote.s3 import Bucket

MIB = 1 << 20


class Counted:
    """Hears how many bytes are there."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, more: int) -> None:
        self.bytes += more


class Altered:
    """A client whose bodies change on the way."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name not in {"put_object", "upload_part"}:
            return real
        return lambda **named: real(**{**named, "Body": b"\0" + named["Body"][1:]})


class BucketContract:
    """Inherit, and give a bucket; a file over 5 MiB must be uploaded in parts."""

    @pytest.fixture
    def bucket(self) -> Bucket:
        """Return a bucket in which nothing begins with its prefix."""
        raise NotImplementedError

    @pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
    def test_a_file_is_downloaded_as_it_was_uploaded(self, bucket: Bucket, tmp_path: Path, size_bytes: int) -> None:
        key, told = bucket.address.key("file"), Counted()
        (tmp_path / "up").write_bytes((os.urandom(MIB) * 12)[:size_bytes])
        entry = describe_file(tmp_path / "up")
        assert not bucket.holds(key, entry)
        bucket.upload(key, tmp_path / "up", entry, told)
        assert bucket.holds(key, entry)
        bucket.download(key, entry, tmp_path / "down", told)
        assert describe_file(tmp_path / "down") == entry
        assert told.bytes == 2 * size_bytes

    @pytest.mark.parametrize("size_bytes", [10, 6 * MIB])
    def test_what_changes_on_the_way_is_refused(self, bucket: Bucket, tmp_path: Path, size_bytes: int) -> None:
        key = bucket.address.key("file")
        (tmp_path / "up").write_bytes(b"x" * size_bytes)
        entry = describe_file(tmp_path / "up")
        altered = Bucket(bucket.address, bucket.limits, Altered(bucket.client))
        with pytest.raises(StoreUnusable, match="HTTP 400"):
            altered.upload(key, tmp_path / "up", entry, Counted())
        assert not bucket.holds(key, entry)

    def test_a_download_may_begin_in_the_middle(self, bucket: Bucket, tmp_path: Path) -> None:
        key = bucket.address.key("file")
        bucket.write(key, b"0123456789")
        assert b"".join(bucket.rest_of(key, 4, 10)) == b"456789"
        with pytest.raises(ModelCorrupt, match="10 bytes instead of 11"):
            list(bucket.rest_of(key, 4, 11))

    def test_an_object_is_replaced_only_if_nobody_else_did(self, bucket: Bucket) -> None:
        key = bucket.address.key("roles.json")
        assert bucket.read(key, 10) is None
        assert bucket.replace(key, b"1", None)
        assert not bucket.replace(key, b"2", None)
        first = bucket.read(key, 10)
        assert first is not None
        assert bucket.replace(key, b"3", first.etag)
        assert not bucket.replace(key, b"4", first.etag)
        last = bucket.read(key, 10)
        assert last is not None
        assert last.data == b"3"

    def test_folders_are_listed(self, bucket: Bucket) -> None:
        assert bucket.folders() == []
        for name in ("a/1/x", "a/2/x", "b", "c/x"):
            bucket.write(bucket.address.key(name), b"x")
        assert bucket.folders() == ["a", "c"]
        assert bucket.folders("a") == ["1", "2"]
        assert bucket.folders("none") == []
