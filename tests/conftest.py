import os
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from tests.support.real import MODEL_SHA256, MODEL_SOURCE

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
