"""Clients of other servers, unmodified, against a running one of ours; what they check is in the programs."""

import subprocess
from pathlib import Path

import pytest
from bench.environments import environment
from tests.support.doors import KEY
from tests.support.server import RunningServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first time, environments are installed

PROGRAMS = Path(__file__).with_name("programs")
LIMIT_S = 120
# Each program, and the environment that its client is in.
CLIENTS = {
    "openai_client": "openai",
    "langchain_openai_client": "openai",
    "tei_client_client": "tei",
    "llama_index_tei_client": "tei",
    "cohere_client": "cohere",
    "huggingface_client": "huggingface",
    "langchain_huggingface_client": "langchain",
    "triton_client": "triton",
    "triton_grpc_client": "triton",
    "tei_grpc_client": "tei",
    "kserve_grpc_client": "kserve",
    "buf_client": "buf",
    "kserve_client": "kserve",
    "infinity_rest_client": "infinity",
}


def test_every_program_is_run():
    assert {path.stem for path in PROGRAMS.glob("*_client.py")} == set(CLIENTS)


@pytest.mark.parametrize("program", CLIENTS)
def test_a_client_gets_what_the_native_dialect_answers(program: str, server: RunningServer, expected: Path):
    python = str(environment(CLIENTS[program], "client").python)
    command = [python, str(PROGRAMS / f"{program}.py"), server.url, KEY, str(expected), server.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
