"""Calls of gRPC by ghz, many at a time, each with a text of its own; what matters is how each one ended."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from bench.places import ROOT
from tests.support.doors import KEY
from tests.support.server import RunningServer, running_server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first time, it is built

CALLS = 2000
LIMIT_S = 300
BEARER = {"authorization": f"Bearer {KEY}"}
BY_CONTRACT = ("--proto", str(ROOT / "proto/headrace.proto"))
BY_REFLECTION = ("--reflect-metadata", json.dumps(BEARER))


@pytest.fixture(scope="session")
def busy(server: RunningServer) -> Iterator[RunningServer]:
    """A server that has little room for work that waits."""
    narrow = {"HEADRACE_ENGINE__MAX_QUEUED_TEXTS": "2", "HEADRACE_AUTH__KEYS": KEY, "HEADRACE_SERVER__GRPC_PORT": "0"}
    with running_server(server.log.parent, "tiny", **narrow) as running:
        yield running


def load(command: tuple[str, ...], server: RunningServer, at_once: int, *options: str) -> dict[str, int]:
    """Return how many calls ended with each status."""
    body = {"model": "tiny", "inputs": ["w1 w2 {{.RequestNumber}}"]}
    given = ["--metadata", json.dumps(BEARER), "--data", json.dumps(body)]
    counts = ["--total", str(CALLS), "--concurrency", str(at_once), "--connections", "4", "--timeout", "60s"]
    asked = ["--insecure", "--call", "headrace.v1.Inference/Embed", "--format", "json", *given, *counts, *options]
    done = subprocess.run([*command, *asked, server.grpc], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    statuses: dict[str, int] = json.loads(done.stdout)["statusCodeDistribution"]
    return statuses


@pytest.mark.parametrize("known", [BY_CONTRACT, BY_REFLECTION], ids=["contract", "reflection"])
def test_every_call_of_a_load_is_answered(
    built: Callable[[str], tuple[str, ...]], server: RunningServer, known: tuple[str, str]
):
    assert load(built("ghz"), server, 16, *known) == {"OK": CALLS}


def test_calls_over_what_a_server_has_room_for_are_refused_as_such_and_no_other_way(
    built: Callable[[str], tuple[str, ...]], busy: RunningServer
):
    statuses = load(built("ghz"), busy, 64, *BY_CONTRACT)
    assert set(statuses) == {"OK", "ResourceExhausted"}
    assert sum(statuses.values()) == CALLS
