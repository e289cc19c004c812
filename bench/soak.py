"""Run a mixed load on `headrace serve` for some minutes, and say whether its memory grows.

Usage: python -m bench.soak [--minutes N]

The verdict rests on the slope's confidence interval, not on the difference between the first and the last
sample: memory goes up and down all the time.
"""

import argparse
import itertools
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from bench import proctree
from bench.interrupt import interrupt_on_terminate
from bench.load import Load, first, probe, running_generator
from bench.model import prepare_model
from bench.progress import say
from bench.server import read_servers, running_server, wait_for_answer
from bench.stats import Slope, slope
from bench.texts import Mix, make_mix

_SEED: Final = 7
_TEXTS: Final = 2048
_EVERY_S: Final = 2.0
_WARM_UP_SHARE: Final = 0.2  # of the samples: until then the runtime still meets new shapes
_CLIENTS: Final = 8
_SIZES: Final = (1, 32, 8, 100)  # texts a request, in turn: what is short and what is long meet in a batch
_REQUESTS_A_CLIENT: Final = 8
_MIB: Final = 1 << 20


@dataclass(slots=True)
class Sampler:
    """Takes the memory of a process tree every few seconds, in a thread.

    Attributes:
        times: Seconds since the start.
        sizes: Proportional set size of the tree, in bytes.
    """

    pid: int
    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sample until ``stop`` is called."""
        started = time.monotonic()
        while not self._stop.wait(_EVERY_S):
            self.times.append(time.monotonic() - started)
            self.sizes.append(float(proctree.pss_bytes(self.pid)))

    def stop(self) -> None:
        """End ``run``."""
        self._stop.set()


def verdict(times: list[float], sizes: list[float]) -> tuple[Slope, str]:
    """Return the slope after the warm-up in MiB an hour, and what it says.

    Args:
        times: Seconds.
        sizes: Bytes, as many.
    """
    skipped = round(len(times) * _WARM_UP_SHARE)
    per_hour = 3600 / _MIB
    found = slope(times[skipped:], [size * per_hour for size in sizes[skipped:]])
    if found.is_flat:
        return found, "no growth can be told from the noise"
    return found, "it grows" if found.value > 0 else "it shrinks"


def main() -> int:
    """Run the load; returns 1 if the memory grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Watch the memory under a mixed load.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; default 10")
    asked = parser.parse_args()
    interrupt_on_terminate()
    model = prepare_model()
    mix = make_mix(_TEXTS, _SEED, model.folder / "tokenizer.json", model.window)
    server = read_servers(["headrace"])[0]
    with running_generator() as generator, running_server(server, model) as running:
        wait_for_answer(running, probe(running))
        sampler = Sampler(running.process.pid)
        thread = threading.Thread(target=sampler.run)
        thread.start()
        try:
            _load(Load(generator, running), mix, asked.minutes * 60)
        except KeyboardInterrupt:
            say("interrupted; the verdict is over what was sampled so far")
        finally:
            sampler.stop()
            thread.join()
    return _tell(sampler)


def _load(load: Load, mix: Mix, duration_s: float) -> None:
    """Send the mix in requests of all sizes, in turn, until the time is over."""
    end = time.monotonic() + duration_s
    for size in itertools.cycle(_SIZES):
        left = end - time.monotonic()
        if left <= 0:
            return
        texts = first(mix, min(len(mix.texts), _CLIENTS * size * _REQUESTS_A_CLIENT))
        figures = load.closed(texts, per_request=size, clients=_CLIENTS)
        say(f"{left / 60:.1f} min left; {size} texts a request: {figures['tokens_per_s']:,.0f} tokens/s")
        if figures["failed"]:
            say(f"  {figures['failed']:.0f} of {figures['requests']:.0f} requests FAILED")


def _tell(sampler: Sampler) -> int:
    try:
        found, said = verdict(sampler.times, sampler.sizes)
    except ValueError as error:
        say(f"no verdict: {error}; let it run longer")
        return 1
    last = sampler.sizes[-1] / _MIB
    print(f"memory {last:.0f} MiB; {found.value:+.1f} MiB/h (95 %: {found.low:+.1f} to {found.high:+.1f}): {said}")
    return int(not found.is_flat and found.value > 0)


if __name__ == "__main__":
    sys.exit(main())
