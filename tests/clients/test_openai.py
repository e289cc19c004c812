"""Clients of OpenAI's API against a running server; what they check is in the programs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.environments import environment
from tests.support.models import add_model
from tests.support.server import RunningServer, running_server

from headrace.models.store import LocalStore

pytestmark = pytest.mark.clients

PROGRAMS = Path(__file__).with_name("programs")
KEY = "a-key-of-24-characters-1"
TEXTS = ("w1 w2", "w3", "w4 w5 w6 w7", "")
LIMIT_S = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("home")
    add_model(LocalStore(home / "models"), "tiny", seed=0)
    with running_server(home, "tiny", HEADRACE_AUTH__KEYS=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def expected(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the native dialect answers, by text."""
    reply = server.embed({"inputs": TEXTS}, headers={"authorization": f"Bearer {KEY}"})
    vectors = [result["embedding"] for result in reply.json()["results"]]
    path = tmp_path_factory.mktemp("expected") / "vectors.json"
    path.write_text(json.dumps(dict(zip(TEXTS, vectors, strict=True))))
    return path


@pytest.mark.parametrize("program", ["openai_client", "langchain_openai_client"])
def test_a_client_gets_what_the_native_dialect_answers(program: str, server: RunningServer, expected: Path):
    python = str(environment("openai", "client").python)
    command = [python, str(PROGRAMS / f"{program}.py"), server.url, KEY, str(expected)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
