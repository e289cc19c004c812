import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from tests.support.real import MODEL_SHA256, MODEL_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.s3_server import S3Server

# How long an example takes says more of the machine and its other users than of us.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the defaults, whatever the shell that started it has set."""
    for name in os.environ:
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def real_home(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A home with the default model, imported once for all processes of a test run."""
    from headrace.cli.progress import SilentSteps  # noqa: PLC0415 - as below
    from headrace.export.importer import ImportRequest, import_model  # noqa: PLC0415 - only who needs the model waits
    from headrace.models.store import LocalStore  # noqa: PLC0415 - as above

    own = tmp_path_factory.getbasetemp()
    home = (own if worker_id == "master" else own.parent) / "real-home"
    with FileLock(f"{home}.lock"):
        store = LocalStore(home / "models")
        if not store.list_models():
            request = ImportRequest(source=MODEL_SOURCE, name="minilm", sha256=MODEL_SHA256)
            import_model(request, store, SilentSteps())
    return home


@pytest.fixture(scope="session")
def _s3_server() -> "Iterator[S3Server]":
    from tests.support.s3_server import running_s3_server  # noqa: PLC0415 - loads moto, some seconds

    with running_s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: "S3Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[S3Server]":
    """An S3 server with an empty bucket, which the environment of the test points to."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    surroundings = {
        "AWS_ENDPOINT_URL": _s3_server.url,
        "AWS_ACCESS_KEY_ID": "made-up-id",
        "AWS_SECRET_ACCESS_KEY": "made-up-secret",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    _s3_server.reset()
    _s3_server.client.create_bucket(
        Bucket=_s3_server.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    yield _s3_server
    _s3_server.hung_up.set()
