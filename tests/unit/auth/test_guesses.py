import pytest

from headrace.auth import guesses as module
from headrace.auth.guesses import Guesses
from headrace.errors import LimitExceeded


class Clock:
    """The time, which a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken(guesses: Guesses, name: str) -> int:
    """Take all there are of a name."""
    for number in range(1000):
        try:
            guesses.take(name)
        except LimitExceeded:
            return number
    raise AssertionError("there is no end")


def test_a_name_has_five_and_then_one_each_half_minute():
    clock = Clock()
    guesses = Guesses(clock)
    assert taken(guesses, "ada") == 5
    with pytest.raises(LimitExceeded, match="ask again in 30 s") as caught:
        guesses.take("ada")
    assert caught.value.retry_after_s == 30
    assert taken(guesses, "bob") == 5
    clock.now_s = 30
    assert taken(guesses, "ada") == 1
    clock.now_s = 10_000
    assert taken(guesses, "ada") == 5


def test_all_names_together_have_sixty_and_then_one_a_second():
    clock = Clock()
    guesses = Guesses(clock)
    assert sum(taken(guesses, f"n{number}") for number in range(100)) == 60
    with pytest.raises(LimitExceeded) as caught:
        guesses.take("ada")
    assert caught.value.retry_after_s == 1
    clock.now_s = 10
    assert sum(taken(guesses, f"m{number}") for number in range(100)) == 10


def test_a_right_one_is_given_back():
    guesses = Guesses(Clock())
    for _ in range(100):
        guesses.take("ada")
        guesses.give_back("ada")
    assert taken(guesses, "ada") == 5
    guesses.give_back("nobody")


def test_names_that_are_refused_push_out_none_that_is_counted():
    clock = Clock()
    guesses = Guesses(clock)
    assert taken(guesses, "ada") == 5
    for number in range(2 * module._MOST_NAMES):
        taken(guesses, f"n{number}")
    assert taken(guesses, "ada") == 0
    assert len(guesses._names) <= module._MOST_NAMES


def test_no_more_names_are_counted_than_can_be_less_than_full():
    clock = Clock()
    guesses = Guesses(clock)
    for number in range(3000):
        clock.now_s += 1
        guesses.take(f"n{number}")
    assert len(guesses._names) == module._MOST_NAMES
    assert module._OF_ALL[0] + module._OF_ONE[0] * module._OF_ONE[1] / module._OF_ALL[1] < module._MOST_NAMES
