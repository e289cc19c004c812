"""Clients of other languages, unmodified, against a running server of ours. Their programs only ask and print."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.environments import environment
from tests.support.doors import KEY
from tests.support.server import RunningServer
from tests.support.toolchains import TOOLCHAINS

from headrace.types import FloatArray

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first time, programs are built

PROGRAMS = Path(__file__).with_name("programs")
LIMIT_S = 120


@pytest.fixture
def ask(built: Callable[[str], tuple[str, ...]], server: RunningServer, expected: Path) -> Callable[..., Any]:
    """Return what a program prints, which is called as those in Python are."""

    def run(program: str, *more: str) -> Any:
        command = [*built(program), server.url, KEY, str(expected), server.grpc, *more]
        # A key of OpenAI's in the environment would be sent by a client that is given none.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def is_same(numbers: Any, expected: FloatArray) -> bool:
    """Whether numbers are those to the last bit; in JSON they have as many digits as that needs."""
    return np.array_equal(np.array(numbers, np.float32), expected)


@dataclass(frozen=True, slots=True)
class Native:
    """What the native dialect answers; vectors of shape (n, d), scores (n, labels), a ranking's (n,)."""

    vectors: FloatArray
    labels: list[dict[str, float]]
    scores: FloatArray
    ranking: FloatArray


@pytest.fixture(scope="session")
def native(expected: Path) -> Native:
    answers = json.loads(expected.read_text())
    labels = [{each["label"]: each["score"] for each in result["labels"]} for result in answers["judge"]]
    ranked = sorted(answers["ranker"], key=lambda each: each["index"])
    return Native(
        vectors=np.array([result["embedding"] for result in answers["tiny"]], np.float32),
        labels=labels,
        scores=np.array([list(each.values()) for each in labels], np.float32),
        ranking=np.array([each["score"] for each in ranked], np.float32),
    )


def test_every_program_is_asked():
    folders = {path.parent.name for name in TOOLCHAINS for path in PROGRAMS.glob(f"*/{name}")}
    assert folders == {"openai_js", "openai_go", "triton_java", "triton_grpc_js", "ghz"}


@pytest.mark.parametrize("program", ["openai_js", "openai_go"])
def test_openais_client_gets_what_the_native_dialect_answers(program: str, ask: Callable[..., Any], native: Native):
    got = ask(program)
    assert is_same(got["default"], native.vectors)
    assert is_same(got["float"], native.vectors)
    assert is_same([np.frombuffer(base64.b64decode(each), "<f4") for each in got["base64"]], native.vectors)
    assert [each["scores"] for each in got["moderations"]] == native.labels
    assert all(each["flagged"] for each in got["moderations"])  # neither label says that there is nothing
    assert got["models"][:2] == ["tiny", "judge"]
    assert got["model"] == "tiny"
    shown = {name: [each["status"], each["code"], each["param"] or None] for name, each in got["errors"].items()}
    assert shown == {
        "model": [404, "model_not_found", "model"],
        "window": [400, "context_length_exceeded", "input[1]"],
        "wrong key": [401, "invalid_api_key", None],
        "no key": [401, "invalid_api_key", None],
    }
    if program == "openai_js":  # the client for Go has one type for all
        assert {name: each["class"] for name, each in got["errors"].items()} == {
            "model": "NotFoundError",
            "window": "BadRequestError",
            "wrong key": "AuthenticationError",
            "no key": "AuthenticationError",
        }


def test_tritons_client_for_java_gets_what_the_native_dialect_answers(ask: Callable[..., Any], native: Native):
    got = ask("triton_java")
    assert got["shape"] == list(native.vectors.shape)
    for way in ("json", "binary", "all outputs"):
        assert is_same(got[way], native.vectors.ravel()), way
    assert got["id"] == "mine"
    assert got["labels"] == [label for each in native.labels for label in each]
    assert is_same(got["scores"], native.scores.ravel())
    assert np.allclose(got["ranking"], native.ranking)
    assert "'nothing'" in got["errors"]["model"]
    assert "'query'" in got["errors"]["input"]
    assert "key" in got["errors"]["no key"]


def test_tritons_contract_over_grpc_for_javascript_gets_what_the_native_dialect_answers(
    ask: Callable[..., Any], native: Native, tmp_path: Path
):
    contract = tmp_path / "contract.bin"
    python = environment("triton", "client").python
    subprocess.run([python, PROGRAMS / "triton_contract.py", contract], check=True, timeout=LIMIT_S)
    got = ask("triton_grpc_js", str(contract))
    assert got["ready"]
    assert (got["id"], got["version"]) == ("mine", got["versions"][0])
    assert got["embedding"]["shape"] == list(native.vectors.shape)
    assert is_same(got["embedding"]["data"], native.vectors.ravel())
    assert is_same(got["raw"], native.vectors.ravel())
    assert got["labels"]["data"] == [label for each in native.labels for label in each]
    assert is_same(got["scores"]["data"], native.scores.ravel())
    assert np.allclose(got["ranking"]["data"], native.ranking)
    first, failed, last = got["streamed"]
    assert is_same([first, last], native.vectors[[0, 0]])
    assert "'nothing'" in failed["error"]
    assert {name: each["code"] for name, each in got["errors"].items()} == {
        "model": "NOT_FOUND",
        "input": "INVALID_ARGUMENT",
        "no key": "UNAUTHENTICATED",
    }
