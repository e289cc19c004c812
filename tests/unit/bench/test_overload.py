import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import overload
from bench.load import Texts
from bench.model import Model
from bench.overload import FACTORS, PART, candidate, run_overload
from bench.results import Results
from bench.run import Run
from bench.texts import Mix

CAPACITY_PER_S = {1: 100.0, 32: 5.0}
TOKENS = 40


class Server:
    """Answers its capacity, whatever comes, in no time; every request has 40 tokens for each text."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []
        self.answered = 1.0
        self.limits_s: list[float | None] = []
        self.is_dead = False
        self.slower = 1.0  # from one capacity to the next

    def closed(self, _texts: Texts, *, per_request: int, clients: int, most_s: float | None = None) -> dict[str, Any]:
        self.limits_s.append(most_s)
        if most_s is not None:
            self.answered *= self.slower
        per_s = CAPACITY_PER_S[per_request] * self.answered
        tokens_per_s = per_s * per_request * TOKENS
        return {"answered": per_s * 2, "elapsed_s": 2.0, "tokens_per_s": tokens_per_s, "generator_cpu_share": 0.2}

    def open(self, _texts: Texts, arrivals: Any, *, per_request: int) -> dict[str, Any]:
        self.asked.append((per_request, arrivals.rate_per_s))
        good = 0.9 * CAPACITY_PER_S[per_request] * per_request * TOKENS
        return {"good_tokens_per_s": good, "recovery_s": 0.1, "generator_cpu_share": 0.5}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    process = SimpleNamespace(pid=1, poll=lambda: 1 if server.is_dead else None)
    running = SimpleNamespace(process=process, server=SimpleNamespace(name="Ours"), log=Path("log"))

    @contextlib.contextmanager
    def give(*_: object) -> Iterator[Any]:
        yield running

    monkeypatch.setattr(overload, "running_generator", give)
    monkeypatch.setattr(overload, "running_server", give)
    monkeypatch.setattr(overload, "read_servers", lambda names: [_server(name) for name in names])
    monkeypatch.setattr(overload, "wait_for_answer", lambda *_: 0.0)
    monkeypatch.setattr(overload, "probe", lambda _: b"")
    monkeypatch.setattr(overload, "first", lambda _, count: Texts(Path(), Path(), count))
    sizes = iter(range(1000, 2000))
    monkeypatch.setattr(overload, "proctree", SimpleNamespace(pss_bytes=lambda _: next(sizes)))

    def load(_generator: object, found: Any) -> Any:
        return SimpleNamespace(closed=server.closed, open=server.open, running=found)

    monkeypatch.setattr(overload, "Load", load)
    return server


def _server(title: str) -> Any:
    return SimpleNamespace(title=title, name=title, column="as_it_comes", needs=None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(
        model=Model(tmp_path, tmp_path, tmp_path, "r", window=256, hidden=384, inner=1536, layers=6),
        mix=Mix((), tmp_path, ""),
        results=Results(tmp_path / "run.json", {}, {}),
        threads=2,
        rounds=1,
        is_quick=False,
        checked=1,
        servers=("Ours",),
    )


def test_each_size_of_request_is_measured_against_its_own_capacity(server: Server, run: Run) -> None:
    run_overload(run)
    assert server.asked == [(1, 200.0), (1, 500.0), (1, 1000.0), (32, 10.0), (32, 25.0), (32, 50.0)]
    assert run.results.candidates(PART) == [candidate("Ours", size, factor) for size in (1, 32) for factor in FACTORS]
    assert candidate("Ours", 1, 2) == "Ours, 1 text, 2 x"
    assert server.limits_s == [None, *[20.0] * 4] * 2  # the warm-up of each size, and its capacity around each load
    for name in run.results.candidates(PART):
        assert run.results.series(PART, name, "good_share")[0] == pytest.approx(0.9)
        # Of two cores it had 1.8 at its capacity, and 1.5 under overload.
        assert run.results.series(PART, name, "good_share_left")[0] == pytest.approx(0.9 * 1.8 / 1.5)
    assert run.results.series(PART, "Ours, 1 text, 2 x", "pss_before_bytes") == {0: 1000.0}
    assert run.results.series(PART, "Ours, 1 text, 2 x", "pss_bytes") == {0: 1001.0}


def test_what_was_measured_is_not_measured_again(server: Server, run: Run) -> None:
    run_overload(run)
    server.asked.clear()
    run_overload(run)
    run.results.measurements[:] = [each for each in run.results.measurements if "32" not in each.candidate]
    run_overload(run)
    assert [size for size, _ in server.asked] == [32] * 3


def test_a_server_that_answers_nothing_is_left_out_with_the_reason(server: Server, run: Run) -> None:
    server.answered = 0.0
    run_overload(run)
    assert run.results.left_out == {"Ours, overload": "Ours answered nothing before the overload began"}
    run_overload(run)
    assert server.asked == []


def test_a_load_is_compared_with_the_capacity_on_both_sides_of_it(server: Server, run: Run) -> None:
    server.slower = 0.5
    run_overload(run)
    assert [rate for _, rate in server.asked][:3] == [100.0, 125.0, 125.0]  # 2, 5 and 10 times of 50, 25 and 12.5
    assert run.results.series(PART, "Ours, 1 text, 2 x", "good_share")[0] == pytest.approx(0.9 / ((0.5 + 0.25) / 2))


def test_every_round_starts_each_server_anew(server: Server, run: Run) -> None:
    run_overload(replace(run, rounds=2))
    assert len(server.asked) == 12
    assert run.results.series(PART, "Ours, 32 texts, 10 x", "good_share").keys() == {0, 1}


@pytest.mark.parametrize(("slower", "is_dead", "why"), [(1.0, True, "died"), (0.0, False, "answered nothing")])
def test_a_server_that_does_not_survive_keeps_the_figures_it_has(
    server: Server, run: Run, slower: float, is_dead: bool, why: str
) -> None:
    opened = server.open

    def open_and_break(*given: Any, **named: Any) -> dict[str, Any]:
        server.slower, server.is_dead = slower, is_dead
        return opened(*given, **named)

    server.open = open_and_break  # type: ignore[method-assign]
    run_overload(run)
    assert run.results.candidates(PART) == ["Ours, 1 text, 2 x"]
    assert run.results.series(PART, "Ours, 1 text, 2 x", "good_share")[0] == pytest.approx(0.9)
    assert f"{why} after 2 times its capacity" in run.results.left_out["Ours, overload"]


def test_only_servers_as_they_come_are_overloaded(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        overload, "read_servers", lambda _: [SimpleNamespace(name="Ours, tuned", column="tuned", needs=None)]
    )
    run_overload(run)
    assert server.asked == []
