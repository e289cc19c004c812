import dataclasses
import hashlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.contracts.bucket import Counted
from tests.support.s3_server import Reply, S3Server
from tests.unit.models.remote.conftest import ONCE

from headrace.errors import ModelCorrupt, ModelError, StoreUnreachable, StoreUnusable
from headrace.models.folder import describe_file
from headrace.models.manifest import FileEntry
from headrace.models.remote.address import parse_address
from headrace.models.remote.s3 import Bucket

CONTENT = bytes(range(256)) * 1024
KEY = "models/file"


def entry_of(data: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def put(s3: S3Server, data: bytes, **more: Any) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key=KEY, Body=data, **more)


@pytest.fixture
def told() -> Counted:
    return Counted()


@pytest.mark.parametrize("size_bytes", [10, 6 << 20])
def test_a_file_that_changes_while_it_is_pushed_is_not_there(
    s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted, size_bytes: int
):
    (tmp_path / "up").write_bytes(b"x" * size_bytes)
    with pytest.raises(ModelCorrupt, match="up changed while it was pushed"):
        bucket.upload(KEY, tmp_path / "up", entry_of(b"y" * size_bytes), told)
    assert s3.objects() == []


def test_parts_of_an_upload_that_fails_are_removed(s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted):
    s3.tamper = lambda request: Reply(403) if "partNumber=2" in request else None
    (tmp_path / "up").write_bytes(b"x" * (6 << 20))
    with pytest.raises(StoreUnusable, match="denied"):
        bucket.upload(KEY, tmp_path / "up", describe_file(tmp_path / "up"), told)
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.bucket)


def test_an_upload_that_cannot_be_cleaned_up_says_why_it_failed(
    s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted
):
    s3.tamper = lambda request: Reply(403 if "partNumber=2" in request else 500) if "uploadId=" in request else None
    (tmp_path / "up").write_bytes(b"x" * (6 << 20))
    with pytest.raises(StoreUnreachable, match="HTTP 500"):
        bucket.upload(KEY, tmp_path / "up", describe_file(tmp_path / "up"), told)


def test_an_object_that_others_wrote_is_not_what_was_uploaded(s3: S3Server, bucket: Bucket):
    put(s3, CONTENT)
    assert not bucket.holds(KEY, entry_of(CONTENT))
    put(s3, CONTENT, Metadata={"sha256": entry_of(CONTENT).sha256})
    assert bucket.holds(KEY, entry_of(CONTENT))
    assert not bucket.holds(KEY, entry_of(CONTENT[1:]))


@pytest.mark.parametrize(
    ("stored", "told_of"),
    [
        (None, "is missing"),
        (CONTENT[:-1], f"has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"),
        (CONTENT + b"x", f"has {len(CONTENT) + 1} bytes instead of {len(CONTENT)}"),
        (b"x" + CONTENT[1:], "has another SHA-256"),
    ],
)
def test_an_object_that_is_not_as_it_should_be_is_named(
    s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted, stored: bytes | None, told_of: str
):
    if stored is not None:
        put(s3, stored)
    with pytest.raises(ModelCorrupt, match=told_of) as caught:
        bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", told)
    assert f"s3://{s3.bucket}/{KEY}" in caught.value.message
    assert "push the version again" in caught.value.message


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_breaks_off_is_taken_up_again(s3: S3Server, tmp_path: Path, told: Counted, knows_ranges: bool):
    put(s3, CONTENT)
    replies = iter([Reply(200, CONTENT[:1000], len(CONTENT)), None if knows_ranges else Reply(200, CONTENT)])
    s3.tamper = lambda _request: next(replies)
    bucket = Bucket(parse_address(s3.address), dataclasses.replace(ONCE, attempts=2))
    bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", told)
    assert (tmp_path / "down").read_bytes() == CONTENT
    assert told.bytes == len(CONTENT)


def test_a_download_that_is_taken_up_again_and_brings_nothing_more_is_given_up(
    s3: S3Server, tmp_path: Path, told: Counted
):
    replies = iter([Reply(200, CONTENT[:1000], len(CONTENT)), Reply(200, b"", len(CONTENT))])
    s3.tamper = lambda _request: next(replies)
    bucket = Bucket(parse_address(s3.address), dataclasses.replace(ONCE, attempts=3))
    with pytest.raises(StoreUnreachable, match="did not answer"):
        bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", told)


def test_a_download_that_breaks_off_every_time_is_given_up(s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted):
    s3.tamper = lambda _request: Reply(200, CONTENT[:1000], len(CONTENT))
    with pytest.raises(StoreUnreachable, match="did not answer"):
        bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", told)


def test_no_more_of_a_small_object_is_read_than_shows_that_it_is_too_large(s3: S3Server, bucket: Bucket):
    put(s3, b"12345")
    for max_bytes, data in ((9, b"12345"), (5, b"12345"), (3, b"1234")):
        found = bucket.read(KEY, max_bytes)
        assert found is not None
        assert found.data == data
    assert bucket.read("models/none", 4) is None


def test_a_server_that_knows_no_conditions_replaces_without(s3: S3Server, bucket: Bucket):
    replies = iter([Reply(501), None])
    s3.tamper = lambda _request: next(replies)
    assert bucket.replace(KEY, b"1", None)
    s3.tamper = lambda _request: None
    assert s3.objects() == [KEY]


def test_a_list_has_a_limit(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    for name in ("a/x", "b/x"):
        bucket.write(f"models/{name}", b"")
    monkeypatch.setattr("headrace.models.remote.s3._MAX_FOLDERS", 1)
    with pytest.raises(StoreUnusable, match="more than 1 folders"):
        bucket.folders()


def act(bucket: Bucket, what: str, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(CONTENT)
    acts: dict[str, Any] = {
        "read": lambda: bucket.read(KEY, 10),
        "write": lambda: bucket.write(KEY, b""),
        "replace": lambda: bucket.replace(KEY, b"", None),
        "look at": lambda: bucket.holds(KEY, entry_of(CONTENT)),
        "upload": lambda: bucket.upload(KEY, tmp_path / "up", entry_of(CONTENT), int),
        "download": lambda: bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", int),
        "list": bucket.folders,
    }
    acts[what]()


ACTS = ["read", "write", "replace", "look at", "upload", "download", "list"]


def body(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>made-up-id made-up-secret</Message></Error>".encode()


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(403, body("AccessDenied")), "access is denied"),
        (Reply(401, body("Unauthorized")), "access is denied"),
        (Reply(301, body("PermanentRedirect")), "AWS_ENDPOINT_URL"),
        (Reply(418, body("Teapot")), "HTTP 418"),
        (Reply(429, body("SlowDown")), "try again later"),
        (Reply(500, body("InternalError")), "try again later"),
        (Reply(503, body("SlowDown")), "try again later"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
def test_a_refusal_says_what_was_refused_and_what_to_do(
    s3: S3Server, bucket: Bucket, tmp_path: Path, what: str, reply: Reply, word: str
):
    s3.tamper = lambda _request: reply
    with capture_logs() as logs, pytest.raises(ModelError, match=word) as caught:
        act(bucket, what, tmp_path)
    assert type(caught.value) is (StoreUnreachable if word == "try again later" else StoreUnusable)
    assert f"s3://{s3.bucket}/models" in caught.value.message
    assert "made-up" not in caught.value.message + str(logs)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(404, body("NoSuchBucket")), "no such bucket"),
        (Reply(400, body("ExpiredToken")), "access is denied"),
    ],
    ids=["bucket", "token"],
)
@pytest.mark.parametrize("what", ["read", "write", "replace", "upload", "download", "list"])
def test_an_answer_with_a_reason_is_told_by_it(
    s3: S3Server, bucket: Bucket, tmp_path: Path, what: str, reply: Reply, word: str
):
    s3.tamper = lambda _request: reply
    with pytest.raises(StoreUnusable, match=word):
        act(bucket, what, tmp_path)


def test_a_bucket_that_is_not_there_is_named(s3: S3Server):
    missing = Bucket(parse_address("s3://no-such-bucket/x"), ONCE)
    with pytest.raises(StoreUnusable, match=r"cannot write s3://no-such-bucket/x/a: there is no such bucket"):
        missing.write("x/a", b"")


def test_a_server_of_something_else_is_told_from_s3(s3: S3Server, bucket: Bucket):
    s3.tamper = lambda _request: Reply(200, b"<html>Welcome<br></html>")
    with pytest.raises(StoreUnusable, match="does not answer as S3 does; check AWS_ENDPOINT_URL"):
        bucket.read(KEY, 100)
    with pytest.raises(StoreUnreachable):  # to botocore, a list that is no XML is a server that failed
        bucket.folders()


def test_an_object_longer_than_it_says_is_not_read_to_its_end(
    s3: S3Server, bucket: Bucket, tmp_path: Path, told: Counted
):
    chunk = b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT)
    s3.tamper = lambda _request: Reply(
        200, chunk * 100 + b"0\r\n\r\n", len(CONTENT), (("Transfer-Encoding", "chunked"),)
    )
    with pytest.raises(ModelCorrupt, match="another SHA-256"):
        bucket.download(KEY, entry_of(CONTENT), tmp_path / "down", told)
    assert (tmp_path / "down").stat().st_size == len(CONTENT) + 1


@pytest.mark.parametrize("what", ACTS)
def test_a_server_that_hangs_is_given_up(s3: S3Server, impatient_bucket: Bucket, tmp_path: Path, what: str):
    s3.tamper = lambda _request: s3.hang()
    with pytest.raises(StoreUnreachable, match="did not answer") as caught:
        act(impatient_bucket, what, tmp_path)
    assert caught.value.retryable


def test_a_server_that_is_not_there_is_unreachable(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        bucket = Bucket(parse_address(s3.address), ONCE)
        with pytest.raises(StoreUnreachable, match="check the network and AWS_ENDPOINT_URL"):
            bucket.read(KEY, 1)


def test_a_server_that_fails_once_is_asked_again(s3: S3Server):
    put(s3, b"1")
    replies = iter([Reply(503), None])
    s3.tamper = lambda _request: next(replies)
    bucket = Bucket(parse_address(s3.address), dataclasses.replace(ONCE, attempts=2))
    assert bucket.read(KEY, 1) is not None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "there are no credentials; set AWS_PROFILE"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "there are no credentials"),
        ({"AWS_PROFILE": "nobody"}, "there are no credentials"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1"}, "check AWS_ENDPOINT_URL"),
        ({"AWS_DEFAULT_REGION": "no such\nregion"}, "AWS_DEFAULT_REGION"),
    ],
)
def test_a_configuration_of_aws_that_does_not_work_is_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], word: str
):
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnusable, match=word):
        Bucket(parse_address(s3.address), ONCE).read(KEY, 1)


def test_without_boto3_the_extra_is_named():
    program = (
        "import sys; sys.modules['boto3'] = None\n"
        "from headrace.errors import DependencyMissing\n"
        "try:\n    import headrace.models.remote.s3\n"
        "except DependencyMissing as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "a remote store needs boto3; run: pip install 'headrace[s3]'\n"
