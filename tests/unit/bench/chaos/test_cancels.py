from dataclasses import replace
from pathlib import Path

import pytest
from bench.chaos.cancels import Count, promises, run_cancels
from bench.chaos.engine import Stage
from tests.support.models import add_model

from headrace.models.store import LocalStore

GOOD = Count(answered=50, left=50, stuck=0, failed=0, queued=40, wasted=0, latest_s=0.0, has_room=True)


def test_on_a_small_model_nothing_is_stuck_and_no_place_is_lost(tmp_path: Path) -> None:
    texts = [f"w{number} w{other}" for number in range(50) for other in range(50)]
    markers = {"crash": "w60", "fail": "w61", "nan": "w62"}
    stage = Stage(add_model(LocalStore(tmp_path)).path, texts, long="", markers=markers)
    found = run_cancels(stage, requests=60)
    assert [promise.is_kept for promise in found[:2]] == [True, True]
    assert found[0].values["requests"] == 60
    assert found[0].values["answered"] >= 30


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, []),
        ({"stuck": 1}, [0]),
        ({"failed": 1}, [0]),
        ({"has_room": False}, [1]),
        ({"wasted": 1}, [2]),
        ({"queued": 200, "wasted": 2}, []),
        ({"queued": 0}, [2]),
    ],
)
def test_a_broken_promise_is_told(change: dict[str, int], broken: list[int]) -> None:
    found = promises(replace(GOOD, **change))  # type: ignore[arg-type]
    assert [place for place, promise in enumerate(found) if not promise.is_kept] == broken
