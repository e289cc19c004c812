import re

import pytest

from headrace import errors
from headrace.errors import CapacityError, HeadraceError, InputTooLong, QueueFull, error_classes

CLASSES = list(error_classes())


@pytest.mark.parametrize("kind", CLASSES)
def test_a_code_is_a_noun_and_a_state(kind: type[HeadraceError]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", kind.code)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(codes) == len(set(codes))


def test_the_tree_at_the_top_lists_every_error_with_its_code() -> None:
    tree = re.findall(r"[├└]── (\w+) +([a-z]+\.[a-z_]+) ", errors.__doc__ or "")
    assert tree == [(kind.__name__, kind.code) for kind in CLASSES]


def test_every_class_of_the_module_is_in_the_tree() -> None:
    named = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"HeadraceError"}
    assert named == {name for name, value in vars(errors).items() if isinstance(value, type) and name != "Iterator"} - {
        "Self"
    }


def test_an_error_says_what_it_was_told() -> None:
    error = QueueFull("2048 texts wait; ask again later", field="inputs", retry_after_s=0.5)
    assert str(error) == error.message == "2048 texts wait; ask again later"
    assert (error.field, error.retry_after_s) == ("inputs", 0.5)


def test_an_error_can_be_pointed_at_a_place() -> None:
    error = InputTooLong("300 tokens, at most 256; send less", retry_after_s=1.0)
    moved = error.at("inputs[3]")
    assert type(moved) is InputTooLong
    assert (moved.message, moved.field, moved.retry_after_s) == (error.message, "inputs[3]", 1.0)
    assert error.field is None


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, CapacityError)])
def test_what_is_short_now_may_be_there_later(kind: type[HeadraceError]) -> None:
    assert kind.retryable


def test_a_request_that_is_wrong_stays_wrong() -> None:
    assert not InputTooLong.retryable
