from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.models import add_model
from tests.support.server import RunningServer, running_server

from headrace.models.store import LocalStore


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two small models."""
    home = tmp_path_factory.mktemp("home")
    store = LocalStore(home / "models")
    add_model(store, "tiny", seed=0)
    add_model(store, "other", seed=1)
    return home


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[RunningServer]:
    """A server that many tests share; each must leave it as it was."""
    limits = {
        "HEADRACE_SERVER__RECEIVE_TIMEOUT_S": "1",
        "HEADRACE_LIMITS__MAX_INPUTS": "16",
        "HEADRACE_LIMITS__MAX_TEXT_CHARS": "10000",
    }
    with running_server(home, "tiny", "other", **limits) as running:
        yield running
