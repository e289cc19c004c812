import dataclasses
import itertools
from typing import get_args

import pytest

from headrace import types
from headrace.options import Options, Truncate
from headrace.types import MODEL_NAME

VALUES = [value for value in vars(types).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_frozen_and_slotted(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)


@pytest.mark.parametrize("name", ["minilm", "a", "0", "all-minilm-l6-v2", "bge_m3.1", "a" * 63])
def test_a_model_name_is_a_plain_word(name: str) -> None:
    assert MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-flag", "A", "a/b", "a\\b", "a b", "a\n", "é", "a" * 64, "c:"]
)
def test_a_model_name_cannot_lead_anywhere(name: str) -> None:
    assert not MODEL_NAME.fullmatch(name)


def test_different_options_have_different_spellings() -> None:
    every = [Options(truncate=t, normalize=n) for t, n in itertools.product(get_args(Truncate), (None, True, False))]
    assert len({options.canonical(("truncate", "normalize")) for options in every}) == len(every)


@pytest.mark.parametrize("default", [True, False])
def test_an_open_option_becomes_the_models_choice(default: bool) -> None:
    assert Options().resolved(normalize=default) == Options(normalize=default)
    assert Options(normalize=True).resolved(normalize=default) == Options(normalize=True)
    assert Options(normalize=False).resolved(normalize=default) == Options(normalize=False)
