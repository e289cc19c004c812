import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import tail
from bench.load import MAX_RATE_PER_S, Arrivals, Texts
from bench.model import Model
from bench.results import Results
from bench.run import Run
from bench.tail import LOAD, LONG_SHARE, PART, run_tail
from bench.texts import Mix

CAPACITY_PER_S = 200.0
MIXED_SHARE = 0.8  # of the capacity, when long texts are among the short ones
PLAIN, MIXED = Path("plain"), Path("mixed")


class Server:
    """Answers its capacity, and short texts twice as late with long ones among them."""

    def __init__(self) -> None:
        self.closed_counts: list[tuple[Path, int]] = []
        self.opened: list[tuple[Path, Arrivals]] = []
        self.capacity_per_s = CAPACITY_PER_S
        self.answers_short = True

    def closed(self, texts: Texts, **_: int) -> dict[str, Any]:
        self.closed_counts.append((texts.texts, texts.count))
        share = MIXED_SHARE if texts.texts == MIXED and texts.count > 512 else 1.0
        return {"answered": self.capacity_per_s * share * 2, "elapsed_s": 2.0}

    def open(self, texts: Texts, arrivals: Arrivals, *, per_request: int, short_tokens: int) -> dict[str, Any]:
        assert (per_request, short_tokens) == (1, 16)
        self.opened.append((texts.texts, arrivals))
        if not self.answers_short:
            return {"refused": 9.0}
        return {"short_p99_s": 0.02 if texts.texts == MIXED else 0.01, "refused": 0.0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    running = SimpleNamespace(server=SimpleNamespace(name="Ours, as it comes"))

    @contextlib.contextmanager
    def give(*_: object) -> Iterator[Any]:
        yield running

    def choose(_mix: Mix, window: int, long_share: float, _seed: int) -> Texts:
        assert window == 256
        return Texts(MIXED if long_share else PLAIN, Path(), 20_000)

    def load(_generator: object, found: Any) -> Any:
        return SimpleNamespace(closed=server.closed, open=server.open, running=found)

    stand_ins = {
        "running_generator": give,
        "running_server": give,
        "read_servers": lambda names: [_server(name) for name in names],
        "wait_for_answer": lambda *_: 0.0,
        "probe": lambda _: b"",
        "mingled": choose,
        "Load": load,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(tail, name, stand_in)
    return server


def _server(title: str, column: str = "as_it_comes") -> Any:
    return SimpleNamespace(title=title, name=f"{title}, {column}", column=column, needs=None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(
        model=Model(tmp_path, tmp_path, tmp_path, "r", window=256, hidden=384, inner=1536, layers=6),
        mix=Mix((), tmp_path, ""),
        results=Results(tmp_path / "run.json", {}, {}),
        threads=2,
        rounds=2,
        is_quick=False,
        checked=1,
        servers=("Ours",),
    )


def test_each_load_is_a_share_of_what_the_server_can_do_of_it_and_long_ones_come_on_top_at_last(
    server: Server, run: Run
) -> None:
    run_tail(run)
    assert [texts for texts, _ in server.opened] == [PLAIN, MIXED, MIXED] * 2
    without, among, on_top = (arrivals.rate_per_s for _, arrivals in server.opened[:3])
    assert without == pytest.approx(LOAD * CAPACITY_PER_S)
    assert among == pytest.approx(LOAD * CAPACITY_PER_S * MIXED_SHARE)
    assert on_top * (1 - LONG_SHARE) == pytest.approx(without)


def test_every_round_draws_its_own_times_and_all_loads_of_a_round_have_the_same(server: Server, run: Run) -> None:
    run_tail(run)
    assert [arrivals.seed for _, arrivals in server.opened] == [0, 0, 0, 1, 1, 1]


def test_the_ratio_is_that_of_the_short_texts_within_a_round(server: Server, run: Run) -> None:
    run_tail(run)
    assert run.results.series(PART, "Ours", "p99_ratio") == {0: 2.0, 1: 2.0}
    assert run.results.series(PART, "Ours", "on_top_p99_ratio") == {0: 2.0, 1: 2.0}
    assert run.results.series(PART, "Ours", "without_short_p99_s") == {0: 0.01, 1: 0.01}
    assert run.results.series(PART, "Ours", "with_short_p99_s") == {0: 0.02, 1: 0.02}
    assert run.results.series(PART, "Ours", "with_refused") == {0: 0.0, 1: 0.0}


def test_the_capacity_is_measured_for_some_seconds_after_a_warm_up_with_long_texts(server: Server, run: Run) -> None:
    run_tail(run)
    assert server.closed_counts[:3] == [(MIXED, 512), (PLAIN, 1000), (MIXED, 1000)]
    assert run.results.series(PART, "Ours", "mixed_capacity_per_s")[0] == CAPACITY_PER_S * MIXED_SHARE
    assert run.results.series(PART, "Ours", "capacity_per_s")[0] == CAPACITY_PER_S


def test_the_rate_is_one_that_the_generator_can_send(server: Server, run: Run) -> None:
    server.capacity_per_s = 1e6
    run_tail(run)
    assert server.closed_counts[1] == (PLAIN, 20_000)
    assert server.opened[0][1].rate_per_s == MAX_RATE_PER_S
    assert run.results.series(PART, "Ours", "rate_per_s")[0] == MAX_RATE_PER_S


def test_what_was_measured_is_not_measured_again(server: Server, run: Run) -> None:
    run_tail(run)
    run.results.measurements.pop()
    server.opened.clear()
    run_tail(run)
    assert [arrivals.seed for _, arrivals in server.opened] == [1, 1, 1]


def test_a_server_that_answers_nothing_is_left_out_with_the_reason(server: Server, run: Run) -> None:
    server.capacity_per_s = 0.0
    run_tail(run)
    assert run.results.left_out == {"Ours, tail": "Ours, as it comes answered nothing before the load began"}
    assert len(server.closed_counts) == 1


def test_a_server_that_answers_no_short_text_is_left_out_with_the_reason(server: Server, run: Run) -> None:
    server.answers_short = False
    run_tail(run)
    assert run.results.left_out == {"Ours, tail": "Ours, as it comes answered no short text at 140 requests/s"}


def test_only_servers_that_run_here_and_as_they_come_are_measured(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "read_servers", lambda _: [_server("Ours", "tuned"), _server("Other")])
    run.results.leave_out("Other, as_it_comes", "it does not start")
    run_tail(run)
    assert server.opened == []
