"""Objects in a bucket of S3, or of a server that speaks its protocol (``AWS_ENDPOINT_URL``).

``boto3`` does the talking, and takes the server, the region and the credentials from its own places: the environment,
its files, or the machine it runs on.
"""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from headrace.errors import DependencyMissing, ModelCorrupt, StoreUnreachable, StoreUnusable
from headrace.models.manifest import FileEntry
from headrace.models.remote.address import Address

try:
    import boto3
    from botocore.config import Config

    from headrace.models.remote.refusals import remote, status_of
except ImportError as error:
    raise DependencyMissing("a remote store needs boto3; run: pip install 'headrace[s3]'") from error

Told = Callable[[int], object]
"""Hears how many bytes more are there."""

PUSH_AGAIN: Final = "remove it there and push the version again"
_CHUNK: Final = 1 << 20
_DIGEST: Final = "sha256"  # key of an object's metadata
_MAX_FOLDERS: Final = 10_000
_CHANGED: Final = frozenset({404, 409, 412})  # what is to be replaced is gone, is being replaced, or is another
_NO_CONDITIONS: Final = 501


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait for a server, how often to ask, and how much to send at once.

    Attributes:
        connect_s: For a connection.
        read_s: For the next bytes of an answer; S3 begins one within a second.
        attempts: Before a request, or the download of a file, is given up.
        part_bytes: What is sent at once, of at least 5 MiB; a larger file is sent in parts, at most 10,000.
    """

    connect_s: float = 5
    read_s: float = 20
    attempts: int = 4
    part_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class SmallObject:
    """An object that was read at once; ``etag`` changes with it."""

    data: bytes
    etag: str


class Bucket:
    """The objects whose names begin as an address says.

    Args:
        address: Where they are; nothing is asked of it yet.
        limits: How to ask.
        client: Of boto3, if one is there already.

    Raises:
        StoreUnusable: The configuration of AWS cannot be used.
    """

    def __init__(self, address: Address, limits: Limits | None = None, client: Any = None) -> None:
        self.address = address
        self.limits = limits or Limits()
        self.client = client or _connect(address, self.limits)

    def read(self, key: str, max_bytes: int) -> SmallObject | None:
        """Return an object, or nothing if there is none; of one that is too large, one byte more than it may have.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        with remote(f"read {self.address.spell(key)}"):
            try:
                found = self.client.get_object(Bucket=self.address.bucket, Key=key)
            except self.client.exceptions.NoSuchKey:
                return None
            with contextlib.closing(found["Body"]) as body:
                return SmallObject(body.read(max_bytes + 1), found["ETag"])

    def write(self, key: str, data: bytes) -> None:
        """Write an object in one step, over what was there.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        with remote(f"write {self.address.spell(key)}"):
            self._put(key, data)

    def replace(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if it still is what it was, and tell whether it was.

        A server that knows no conditions is asked without: there the last one to write wins.

        Args:
            key: Its name.
            data: Its new content.
            etag: Of what it replaces; nothing if there was no such object.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with remote(f"write {self.address.spell(key)}"):
            try:
                self._put(key, data, **condition)
            except self.client.exceptions.ClientError as error:
                if status_of(error) in _CHANGED and not isinstance(error, self.client.exceptions.NoSuchBucket):
                    return False
                if status_of(error) != _NO_CONDITIONS:
                    raise
                self._put(key, data)
        return True

    def holds(self, key: str, entry: FileEntry) -> bool:
        """Tell whether an object is there that was uploaded from such a file; its bytes are not read.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        with remote(f"look at {self.address.spell(key)}"):
            try:
                found = self.client.head_object(Bucket=self.address.bucket, Key=key)
            except self.client.exceptions.ClientError as error:
                if status_of(error) == 404:  # noqa: PLR2004 - an HTTP status
                    return False
                raise
            return bool(found["ContentLength"] == entry.size_bytes and found["Metadata"].get(_DIGEST) == entry.sha256)

    def upload(self, key: str, path: Path, entry: FileEntry, told: Told) -> None:
        """Upload a file; the server compares each part with its SHA-256 and refuses what differs.

        Raises:
            ModelCorrupt: The file is not what ``entry`` says.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        with path.open("rb") as file:
            if entry.size_bytes > self.limits.part_bytes:
                self._upload_parts(key, file, entry, told)
                return
            data = file.read(entry.size_bytes + 1)
        _require_same(path.name, hashlib.sha256(data).hexdigest(), entry)
        with remote(f"write {self.address.spell(key)}"):
            self._put(key, data, Metadata={_DIGEST: entry.sha256})
        told(len(data))

    def _upload_parts(self, key: str, file: BinaryIO, entry: FileEntry, told: Told) -> None:
        """Upload a large file; nothing is seen of it until its last part is there and the digest was compared."""
        target = {"Bucket": self.address.bucket, "Key": key}
        doing = f"write {self.address.spell(key)}"
        digest = hashlib.sha256()
        parts: list[dict[str, Any]] = []
        with remote(doing):
            begun = self.client.create_multipart_upload(
                **target, ChecksumAlgorithm="SHA256", Metadata={_DIGEST: entry.sha256}
            )
            target["UploadId"] = begun["UploadId"]
        try:
            while data := file.read(self.limits.part_bytes):
                digest.update(data)
                part = {"PartNumber": len(parts) + 1, "ChecksumSHA256": _checksum(data)}
                with remote(doing):
                    parts.append({**part, "ETag": self.client.upload_part(**target, **part, Body=data)["ETag"]})
                told(len(data))
            _require_same(Path(file.name).name, digest.hexdigest(), entry)
            with remote(doing):
                self.client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except BaseException:
            with contextlib.suppress(StoreUnusable, StoreUnreachable), remote(doing):
                self.client.abort_multipart_upload(**target)
            raise

    def _put(self, key: str, data: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.address.bucket, Key=key, Body=data, ChecksumSHA256=_checksum(data), **more)

    def download(self, key: str, entry: FileEntry, target: Path, told: Told) -> None:
        """Download an object to a new file and compare it; a connection that breaks is taken up where it broke.

        Raises:
            ModelCorrupt: It is missing, or not what ``entry`` says; no more bytes are read than it should have.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
            OSError: The file cannot be written.
        """
        digest = hashlib.sha256()
        done = failures = 0
        with target.open("xb") as file:
            while True:
                before = done
                try:
                    for chunk in self.rest_of(key, done, entry.size_bytes):
                        file.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        told(len(chunk))
                    break
                except StoreUnreachable:
                    failures += 1
                    if failures == self.limits.attempts or done == before:  # boto3 itself has asked often enough
                        raise
        if digest.hexdigest() != entry.sha256:
            raise ModelCorrupt(
                f"{self.address.spell(key)} ({target.name}) has another SHA-256 than the manifest says; {PUSH_AGAIN}"
            )

    def rest_of(self, key: str, start: int, size_bytes: int) -> Iterator[bytes]:
        """Yield an object from some byte on, or nothing more than shows that it is too long.

        Args:
            key: Its name.
            start: The first byte.
            size_bytes: The whole object must have that many.

        Raises:
            ModelCorrupt: It is missing, or has another size.
            StoreUnreachable: The server did not answer, at first or any more.
            StoreUnusable: It refused.
        """
        where = self.address.spell(key)
        rest = {"Range": f"bytes={start}-"} if 0 < start < size_bytes else {}
        with remote(f"read {where}"):
            try:
                found = self.client.get_object(Bucket=self.address.bucket, Key=key, **rest)
            except self.client.exceptions.NoSuchKey as error:
                raise ModelCorrupt(f"{where} is missing; push the version again") from error
            with contextlib.closing(found["Body"]) as body:
                begin = start if "ContentRange" in found else 0  # a server need not know ranges
                length = found["ContentLength"] + begin
                if length != size_bytes:
                    raise ModelCorrupt(f"{where} has {length} bytes instead of {size_bytes}; {PUSH_AGAIN}")
                yield from _take(body, start - begin, size_bytes - start)

    def folders(self, *parts: str) -> list[str]:
        """Return the names directly under a folder that have something under them.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused, or there are more than 10,000.
        """
        start = self.address.key(*parts, "")
        where = self.address.spell(start)
        found: list[str] = []
        with remote(f"list {where}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.address.bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                found += [each["Prefix"].removeprefix(start).rstrip("/") for each in page.get("CommonPrefixes", ())]
                if len(found) > _MAX_FOLDERS:
                    raise StoreUnusable(f"{where} holds more than {_MAX_FOLDERS} folders; use another prefix")
        return found


def _take(body: Any, skipped: int, wanted: int) -> Iterator[bytes]:
    """Yield the bytes of a body after those to skip; one more than is wanted tells that it is no such body."""
    while skipped and (chunk := body.read(min(_CHUNK, skipped))):
        skipped -= len(chunk)
    while wanted >= 0 and (chunk := body.read(min(_CHUNK, wanted + 1))):
        wanted -= len(chunk)
        yield chunk


def _connect(address: Address, limits: Limits) -> Any:
    with remote(f"use {address}"):
        # A session of its own: the shared one keeps the credentials of before.
        return boto3.Session().client(
            "s3",
            config=Config(
                connect_timeout=limits.connect_s,
                read_timeout=limits.read_s,
                retries={"mode": "standard", "total_max_attempts": limits.attempts},
                # We give SHA-256s. The CRC that newer versions add by themselves many servers do not understand.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def _checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _require_same(name: str, sha256: str, entry: FileEntry) -> None:
    if sha256 != entry.sha256:
        raise ModelCorrupt(f"{name} changed while it was pushed; import the model again")
