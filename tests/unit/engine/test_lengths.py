import pytest
from tests.support.simulated import output

from headrace.engine.lengths import TokenEstimate, size_bytes
from headrace.errors import EngineFailed


@pytest.mark.parametrize(("text", "size"), [("", 0), ("abc", 3), ("é", 2), ("水", 3), ("🌊", 4), ("\ud800", 3)])
def test_a_size_is_that_in_utf_8(text: str, size: int):
    assert size_bytes(text) == size


def test_a_guess_follows_what_texts_had_and_an_error_says_nothing():
    estimate = TokenEstimate()
    assert estimate.guess(1000, "truncate") == 252
    estimate.learn(["x" * 1000] * 3, [EngineFailed("no")] * 3)
    assert estimate.guess(1000, "truncate") == 252
    estimate.learn(["x" * 1000] * 100, [output(502)] * 100)
    assert estimate.guess(1000, "truncate") == pytest.approx(502, rel=0.01)


def test_a_text_that_may_be_cut_is_never_over_the_window():
    estimate = TokenEstimate()
    estimate.learn(["x" * 30_000], [output(256, truncated=True)])
    assert estimate.guess(30_000, "truncate") == estimate.guess(30_000, "error") == 256
    assert estimate.guess(30_000, "chunk") == 7502
