import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import load
from bench.load import SHORT_TOKENS, Arrivals, Load, Texts, mingled, short
from bench.texts import Mix, Text

WINDOW = 256
LENGTHS = (5, 6, 16, 17, 100, 256, 256)


@pytest.fixture
def mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mix:
    monkeypatch.setattr(load, "cache_folder", lambda: tmp_path)
    (tmp_path / "texts").mkdir()
    return Mix(tuple(Text(f"text {place}", "news", tokens) for place, tokens in enumerate(LENGTHS)), tmp_path, "")


def tokens_of(texts: Texts) -> list[int]:
    found: list[int] = json.loads(texts.tokens.read_text())
    assert len(found) == len(texts.texts.read_text().splitlines()) == texts.count
    return found


def test_short_texts_are_those_of_a_search_query(mix: Mix) -> None:
    assert tokens_of(short(mix)) == [6, 16]


def test_without_long_texts_there_are_only_short_ones_in_turns(mix: Mix) -> None:
    found = tokens_of(mingled(mix, WINDOW, 0.0, seed=0))
    assert found == [6, 16] * (len(found) // 2)


def test_long_texts_come_between_short_ones_which_keep_their_order(mix: Mix) -> None:
    found = tokens_of(mingled(mix, WINDOW, 0.01, seed=0))
    kept = [tokens for tokens in found if tokens in SHORT_TOKENS]
    assert set(found) == {6, 16, WINDOW}
    assert (len(found) - len(kept)) / len(found) == pytest.approx(0.01, rel=0.25)
    assert kept[:1000] == [6, 16] * 500


def test_a_seed_gives_the_same_places_and_another_seed_others(mix: Mix) -> None:
    drawn = [tokens_of(mingled(mix, WINDOW, 0.1, seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_long_texts_go_little_over_the_window(mix: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_LONG_COUNT", 1)
    texts = (*mix.texts, Text("longer than the others", "news", WINDOW), Text("least", "news", WINDOW))
    found = mingled(Mix(texts, mix.path, ""), WINDOW, 0.5, seed=0).texts.read_text()
    assert "least" in found
    assert "longer than" not in found


def test_a_mix_without_long_texts_is_refused(mix: Mix) -> None:
    with pytest.raises(ValueError, match="of 7 texts 2 short and 0 long ones are there"):
        mingled(mix, 512, 0.01, seed=0)


@pytest.mark.parametrize(("header", "headers"), [(None, {}), ("x-wait", {"x-wait": "1.5"})])
def test_an_open_load_has_what_was_asked_for(header: str | None, headers: dict[str, str]) -> None:
    generator: Any = SimpleNamespace(ask=lambda _, **question: question)
    running: Any = SimpleNamespace(port=1, server=SimpleNamespace(path="/", dialect="texts", timeout_header=header))
    arrivals = Arrivals(rate_per_s=2.0, duration_s=1.0, goal_s=1.5, limit_s=10.0, seed=7)
    asked = Load(generator, running).open(Texts(Path("a"), Path("b"), 3), arrivals, per_request=1, short_tokens=16)
    assert (asked["seed"], asked["short_tokens"], asked["limit_s"], asked["rate_per_s"]) == (7, 16, 10.0, 2.0)
    assert asked["headers"] == headers
