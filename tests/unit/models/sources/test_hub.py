import os
import socket
import subprocess
import sys

import huggingface_hub.constants
import pytest
from tests.unit.models.handmade import CHECKPOINT_FILES
from tests.unit.models.sources.conftest import COMMIT, Heard, StandIn

from headrace.errors import ModelError, SourceInvalid, SourceMissing, SourceUnreachable, SourceUnsafe
from headrace.models.checkpoint import read_checkpoint
from headrace.models.sources.base import SourceSpec
from headrace.models.sources.hub import download_repository

TINY = SourceSpec(kind="hub", name="org/tiny")


@pytest.fixture(autouse=True)
def _no_proxy_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "")


def fail(spec: SourceSpec, hub: StandIn, heard: Heard) -> ModelError:
    with pytest.raises(ModelError) as caught, download_repository(spec, heard, endpoint=hub.url):
        pass
    return caught.value


def test_the_files_of_a_checkpoint_are_downloaded_and_no_others(hub: StandIn, heard: Heard):
    others = {
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"graph",
        "modeling.py": b"code",
        "a/config.json": b"{}",
    }
    hub.files = CHECKPOINT_FILES | others
    with download_repository(TINY, heard, endpoint=hub.url) as source:
        assert source.revision == COMMIT
        checkpoint = read_checkpoint(source.folder)
        visible = {path.relative_to(source.folder).as_posix() for path in source.folder.rglob("*") if path.is_file()}
        assert {name for name in visible if not name.startswith(".")} == set(CHECKPOINT_FILES)
        assert not any(path.is_symlink() for path in source.folder.rglob("*"))
    assert checkpoint.max_tokens == 256
    assert not source.folder.exists()
    assert not any(name in request for request in hub.requests for name in others if name != "a/config.json")


def test_of_the_graphs_of_a_checkpoint_the_usual_one_is_downloaded(hub: StandIn, heard: Heard):
    graphs = {"onnx/model.onnx": b"graph", "onnx/model.onnx_data": b"weights"}
    kept = {name: content for name, content in CHECKPOINT_FILES.items() if name != "model.safetensors"} | graphs
    hub.files = kept | {"onnx/model_int8.onnx": b"other", "pytorch_model.bin": b"pickle"}
    with download_repository(TINY, heard, endpoint=hub.url) as source:
        assert read_checkpoint(source.folder).weights == "onnx/model.onnx"
        visible = {path.relative_to(source.folder).as_posix() for path in source.folder.rglob("*") if path.is_file()}
    assert {name for name in visible if not name.startswith(".")} == set(kept)


def test_the_bytes_that_arrive_are_told(hub: StandIn, heard: Heard):
    hub.files = dict(CHECKPOINT_FILES)
    with download_repository(TINY, heard, endpoint=hub.url):
        pass
    assert heard.steps == ["Downloading org/tiny"]
    assert max(done for done, _ in heard.bytes_done) == sum(map(len, CHECKPOINT_FILES.values()))


def test_nothing_is_drawn_on_the_terminal(hub: StandIn, heard: Heard, capfd: pytest.CaptureFixture[str]):
    hub.files = dict(CHECKPOINT_FILES)
    with download_repository(TINY, heard, endpoint=hub.url):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_tag_or_commit_is_resolved_to_its_commit(hub: StandIn, heard: Heard, revision: str):
    hub.files = dict(CHECKPOINT_FILES)
    spec = SourceSpec(kind="hub", name="org/tiny", revision=revision)
    with download_repository(spec, heard, endpoint=hub.url) as source:
        assert source.revision == COMMIT
    assert f"GET /api/models/org/tiny/revision/{revision}" in hub.requests


def test_an_unknown_repository_is_missing(hub: StandIn, heard: Heard):
    error = fail(SourceSpec(kind="hub", name="org/none"), hub, heard)
    assert type(error) is SourceMissing
    assert "'org/none'" in error.message


def test_an_unknown_revision_is_missing(hub: StandIn, heard: Heard):
    error = fail(SourceSpec(kind="hub", name="org/tiny", revision="v9"), hub, heard)
    assert type(error) is SourceMissing
    assert "'v9'" in error.message


@pytest.mark.parametrize(
    ("status", "headers", "kind", "word"),
    [
        (403, {"X-Error-Code": "GatedRepo"}, SourceMissing, "gated"),
        (401, {}, SourceMissing, "HF_TOKEN"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, SourceMissing, "HF_TOKEN"),
        (403, {}, SourceMissing, "HF_TOKEN"),
        (500, {}, SourceUnreachable, "network"),
        (418, {}, SourceUnreachable, "network"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: StandIn, heard: Heard, status: int, headers: dict[str, str], kind: type[ModelError], word: str
):
    hub.refusal = (status, headers)
    error = fail(TINY, hub, heard)
    assert type(error) is kind
    assert word in error.message
    assert "127.0.0.1" not in error.message


def test_a_hub_that_is_not_there_is_unreachable(hub: StandIn, heard: Heard):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hub.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        error = fail(TINY, hub, heard)
    assert type(error) is SourceUnreachable
    assert error.retryable


def test_offline_mode_is_named(hub: StandIn, heard: Heard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()  # it reads the switch when it makes its client
    try:
        error = fail(TINY, hub, heard)
    finally:
        huggingface_hub.close_session()
    assert type(error) is SourceUnreachable
    assert "HF_HUB_OFFLINE" in error.message


def test_an_id_that_the_library_refuses_is_invalid(hub: StandIn, heard: Heard):
    assert type(fail(SourceSpec(kind="hub", name="org/a..b"), hub, heard)) is SourceInvalid


def test_a_server_that_names_no_commit_is_no_hub(hub: StandIn, heard: Heard):
    hub.files = dict(CHECKPOINT_FILES)
    hub.commit = None
    error = fail(TINY, hub, heard)
    assert type(error) is SourceUnreachable
    assert "HF_ENDPOINT" in error.message


def test_a_repository_of_pickles_is_refused_before_anything_is_downloaded(hub: StandIn, heard: Heard):
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    error = fail(TINY, hub, heard)
    assert type(error) is SourceUnsafe
    assert "pytorch_model.bin" in error.message
    assert not any("resolve" in request for request in hub.requests)


def test_the_hub_is_where_hf_endpoint_says(hub: StandIn):
    hub.files = dict(CHECKPOINT_FILES)
    program = (
        "from tests.unit.models.sources.conftest import Heard\n"
        "from headrace.models.sources.resolve import fetch, parse_spec\n"
        "with fetch(parse_spec('org/tiny'), Heard()) as source:\n"
        "    print(source.revision, (source.folder / 'model.safetensors').stat().st_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_ENDPOINT": hub.url, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [COMMIT, str(len(CHECKPOINT_FILES["model.safetensors"]))]
    assert done.stderr == ""
