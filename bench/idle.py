"""Say how much CPU `headrace serve` takes while nobody asks it anything.

Usage: python -m bench.idle [--seconds N]
"""

import argparse
import time
from typing import Final

from bench import proctree
from bench.interrupt import interrupt_on_terminate
from bench.load import probe
from bench.model import prepare_model
from bench.server import read_servers, running_server, wait_for_answer

_SETTLE_S: Final = 2.0
_MIB: Final = 1 << 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description="Measure an idle server.")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long; default 30")
    asked = parser.parse_args()
    interrupt_on_terminate()
    model = prepare_model()
    with running_server(read_servers(["headrace"])[0], model) as running:
        start_s = wait_for_answer(running, probe(running))
        time.sleep(_SETTLE_S)
        before, started = proctree.cpu_s(running.process.pid), time.monotonic()
        time.sleep(asked.seconds)
        share = (proctree.cpu_s(running.process.pid) - before) / (time.monotonic() - started)
        memory = proctree.pss_bytes(running.process.pid) / _MIB
    print(f"start to first answer {start_s:.2f} s; idle: {share:.3%} of a core, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
