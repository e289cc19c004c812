"""What every part of a run is given."""

from dataclasses import dataclass

from bench.model import Model
from bench.results import Results
from bench.texts import Mix


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the benchmarks.

    Attributes:
        threads: Threads that everybody may use: the cores of this machine, or the container's limit.
        rounds: Times that everything is measured.
        is_quick: Leave out what takes minutes.
        checked: Texts whose vectors are compared with the reference.
        servers: Names of the files in bench/servers that take part.
    """

    model: Model
    mix: Mix
    results: Results
    threads: int
    rounds: int
    is_quick: bool
    checked: int
    servers: tuple[str, ...]
