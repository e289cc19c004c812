import json
from pathlib import Path

import pytest
from bench.results import Measurement, Results, ResultsMismatch, file_name, paired, read_results, require_same


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "kept/run.json", {"cpu": "a"}, {"rounds": 2})


def test_every_measurement_is_on_disk_at_once(results: Results) -> None:
    results.add(Measurement("offline", "ours", 0, {"tokens_per_s": 5.0}))
    results.leave_out("theirs", "it does not start")
    kept = read_results(results.path)
    assert kept.measurements == results.measurements
    assert kept.left_out == {"theirs": "it does not start"}
    assert (kept.identity, kept.about) == ({"cpu": "a"}, {"rounds": 2})
    assert [path.name for path in results.path.parent.iterdir()] == ["run.json"]


def test_what_was_measured_is_known_by_part_candidate_and_round(results: Results) -> None:
    results.add(Measurement("offline", "ours", 1, {}))
    assert results.has("offline", "ours", 1)
    assert not results.has("offline", "ours", 0)
    assert not results.has("http", "ours", 1)
    assert not results.has("offline", "theirs", 1)


def test_candidates_keep_the_order_in_which_they_were_measured(results: Results) -> None:
    for name in ("b", "a", "b"):
        results.add(Measurement("offline", name, 0, {}))
    results.add(Measurement("http", "c", 0, {}))
    assert results.candidates("offline") == ["b", "a"]


def test_a_series_is_by_round_and_without_rounds_that_lack_the_figure(results: Results) -> None:
    results.add(Measurement("offline", "ours", 0, {"x": 1.0}))
    results.add(Measurement("offline", "ours", 1, {"y": 2.0}))
    results.add(Measurement("offline", "theirs", 1, {"x": 3.0}))
    assert results.series("offline", "ours", "x") == {0: 1.0}


def test_two_series_are_compared_in_the_rounds_they_share() -> None:
    assert paired({0: 1.0, 2: 3.0, 1: 2.0}, {1: 20.0, 2: 30.0, 5: 0.0}) == ([2.0, 3.0], [20.0, 30.0])


@pytest.mark.parametrize("content", ["", "{", json.dumps({"format": 0})])
def test_a_file_that_is_none_of_results_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ResultsMismatch):
        read_results(tmp_path / "run.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsMismatch, match=r"none\.json"):
        read_results(tmp_path / "none.json")


def test_a_run_is_not_continued_on_another_machine() -> None:
    require_same({"cpu": "a", "texts": "b"}, {"texts": "b", "cpu": "a"})
    with pytest.raises(ResultsMismatch, match="cpu was 'a' and is 'c'"):
        require_same({"cpu": "a", "texts": "b"}, {"cpu": "c", "texts": "b"})


def test_a_file_is_named_after_date_and_processor() -> None:
    assert file_name("2026-01-02", "Intel(R) Xeon(R) @ 2.0GHz") == "2026-01-02-intel-r-xeon-r-2-0ghz.json"
