"""The OpenAPI document against the running server: Schemathesis asks as it says, rightly and wrongly."""

import subprocess
from pathlib import Path

import pytest
from bench.environments import environment
from tests.support.doors import KEY
from tests.support.server import RunningServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 20
LIMIT_S = 600


def test_the_server_does_what_its_document_says(server: RunningServer, tmp_path: Path):
    program = environment("schemathesis", "client").python.with_name("schemathesis")
    asked = ["run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}", "--checks", "all"]
    options = ["--max-examples", str(EXAMPLES), "--seed", "1", "--continue-on-failure", "--no-color"]
    done = subprocess.run(
        [program, "--config-file", CONFIG, *asked, *options],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
