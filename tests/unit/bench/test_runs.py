from pathlib import Path

import numpy as np
import pytest
from bench import offline
from bench.__main__ import PARTS, open_results, parse_arguments
from bench.accuracy import compare, read_vectors
from bench.facts import telling_versions
from bench.model import Model
from bench.offline import HEADRACE, candidates
from bench.results import Measurement, Results, ResultsMismatch
from bench.run import Run
from bench.server import server_names
from bench.soak import verdict
from bench.texts import Mix
from bench.workers.loop import read_texts
from bench.workers.runtimes import batches, pad

IDENTITY = {"cpu": "A Processor", "is_quick": False}


def test_a_batch_stays_within_the_budget_and_no_text_is_lost() -> None:
    lengths = [3, 256, 10, 9, 100, 5, 300]
    found = list(batches(lengths, budget=256))
    assert sorted(place for batch in found for place in batch) == list(range(7))
    assert all(len(batch) * max(lengths[place] for place in batch) <= 256 or len(batch) == 1 for batch in found)
    assert found[:2] == [[6], [1]]


def test_texts_are_padded_on_the_right() -> None:
    feeds = pad([[7, 8, 9], [5]])
    assert feeds["input_ids"].tolist() == [[7, 8, 9], [5, 0, 0]]
    assert feeds["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_accuracy_is_the_cosine_whatever_the_lengths_of_the_vectors() -> None:
    expected = np.array([[1, 0], [0, 1]], dtype=np.float32)
    found = np.array([[3, 0], [1, 1]], dtype=np.float32)
    assert compare(found, expected) == pytest.approx({"cosine_min": 0.5**0.5, "cosine_mean": (1 + 0.5**0.5) / 2})


def test_vectors_that_do_not_correspond_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        compare(np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32))


def test_vectors_are_read_as_they_were_written(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.array([[1.5]], dtype=np.float32))
    assert read_vectors(tmp_path / "vectors.npy").tolist() == [[1.5]]


def test_only_versions_that_decide_the_speed_are_told() -> None:
    assert telling_versions("torch==2.15.0\nrich==15.0\nnumpy==2.4.6 \\\n") == {"numpy": "2.4.6", "torch": "2.15.0"}


def test_texts_are_read_from_json_lines(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text('{"text": "a\\nb"}\n{"text": "c", "tokens": 3}\n')
    assert read_texts(str(tmp_path / "texts")) == ["a\nb", "c"]


def test_memory_that_grows_is_told_with_its_rate() -> None:
    times = [float(second) for second in range(0, 400, 2)]
    sizes = [300e6 + 1024 * time + (time % 7) * 100 for time in times]  # 1 KiB/s are 3.5 MiB/h
    found, said = verdict(times, sizes)
    assert said == "it grows"
    assert found.value == pytest.approx(3.516, rel=0.05)


def test_memory_that_only_wobbles_does_not_grow() -> None:
    times = [float(second) for second in range(0, 400, 2)]
    chooser = np.random.default_rng(0)
    assert verdict(times, [300e6 + float(chooser.normal()) * 1e6 for _ in times])[1].startswith("no growth")


def test_growth_in_the_warm_up_does_not_count() -> None:
    times = [float(second) for second in range(100)]
    chooser = np.random.default_rng(0)
    sizes = [(1e8 if time < 20 else 3e8) + float(chooser.normal()) * 1e5 for time in times]
    assert verdict(times, sizes)[1].startswith("no growth")


def test_memory_that_shrinks_is_no_growth() -> None:
    times = [float(second) for second in range(100)]
    assert verdict(times, [1e9 - 1e5 * time + (time % 3) for time in times])[1] == "it shrinks"


@pytest.mark.parametrize(
    ("arguments", "parts", "rounds", "texts"),
    [
        ([], list(PARTS), 5, 4096),
        (["--quick"], ["limits", "offline"], 3, 512),
        (["--quick", "--parts", "http", "--rounds", "2", "--texts", "64"], ["http"], 2, 64),
    ],
)
def test_what_is_not_asked_for_is_the_usual(arguments: list[str], parts: list[str], rounds: int, texts: int) -> None:
    asked = parse_arguments(arguments)
    assert (asked.parts, asked.rounds, asked.texts) == (parts, rounds, texts)
    assert tuple(asked.servers) == server_names()


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--texts", "-1"], ["--parts", "none"], ["--servers", "none"]]
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert "error:" in capsys.readouterr().err


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    first = Results(tmp_path / "run.json", IDENTITY, {"date": "2026-01-02"})
    first.add(Measurement("offline", "ours", 0, {"x": 1.0}))
    again = open_results(first.path, IDENTITY)
    assert again.has("offline", "ours", 0)
    with pytest.raises(ResultsMismatch, match="is_quick"):
        open_results(first.path, {**IDENTITY, "is_quick": True})


def test_a_new_run_has_a_file_of_its_own() -> None:
    made = open_results(None, {**IDENTITY, "is_quick": True})
    assert made.path.name.endswith("-a-processor-quick.json")
    assert not made.path.exists()


@pytest.mark.parametrize(("is_quick", "count"), [(True, 8), (False, 11)])
@pytest.mark.parametrize("has_avx512", [True, False])
def test_a_quick_run_leaves_out_the_slowest_and_any_what_the_processor_has_no_instructions_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_quick: bool, count: int, has_avx512: bool
) -> None:
    monkeypatch.setattr(offline, "multiplies_bf16", lambda: has_avx512)
    monkeypatch.setattr(offline, "own_precisions", lambda: ("int16", "int8") if has_avx512 else ("int16",))
    model = Model(tmp_path, tmp_path, tmp_path, "r", window=256, hidden=384, inner=1536, layers=6)
    run = Run(
        model=model,
        mix=Mix((), tmp_path, ""),
        results=Results(tmp_path, {}, {}),
        threads=2,
        rounds=1,
        is_quick=is_quick,
        checked=1,
        servers=(),
    )
    found = candidates(run)
    if not has_avx512:
        count -= 3 if is_quick else 5  # int8 of ours, and bf16: of OpenVINO twice, of sentence-transformers twice
        assert not any("int8" in candidate.name or "bf16" in candidate.name for candidate in found)
    assert len({candidate.name for candidate in found}) == count
    assert found[0].name == HEADRACE
    assert any("sentence-transformers" in candidate.name for candidate in found) is not is_quick
    assert model.flop_per_token == 21_233_664
