"""Asks with ``buf curl``, which knows no message before it has asked the server's reflection."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from expected import GRPC, KEY, TEXTS, VECTORS, as_float32

BUF = Path(sys.executable).with_name("buf")


def curl(path: str, body: dict[str, Any], key: str = KEY, version: str = "grpc-v1") -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(body)]
    command += ["--header", f"authorization: Bearer {key}", "--reflect-header", f"authorization: Bearer {KEY}"]
    command += ["--reflect-protocol", version, f"http://{GRPC}/{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


for version in ("grpc-v1", "grpc-v1alpha"):
    done = curl("headrace.v1.Inference/Embed", {"model": "tiny", "inputs": TEXTS}, version=version)
    assert done.returncode == 0, done.stderr
    assert as_float32([result["embedding"] for result in json.loads(done.stdout)["results"]]) == VECTORS

done = curl("grpc.health.v1.Health/Check", {"service": "headrace.v1.Inference"})
assert json.loads(done.stdout) == {"status": "SERVING"}, done.stderr

done = curl("headrace.v1.Inference/Embed", {"model": "nothing", "inputs": TEXTS})
assert done.returncode == 5 << 3, done.stderr  # NOT_FOUND, as buf numbers its exits
assert "nothing" in done.stderr
assert "google.rpc.ErrorInfo" in done.stderr

done = curl("headrace.v1.Inference/Embed", {"inputs": TEXTS}, key="not-one-of-those-known")
assert done.returncode != 0
assert "not known here" in done.stderr, done.stderr
