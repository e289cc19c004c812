import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.options import Options
from headrace.tasks.classify import TASK, finish, pack, unpack
from headrace.types import Classification, Label, Traits, Window

LOGITS = arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e4, 1e4, width=32))
NAMES = st.lists(st.text(min_size=1, max_size=20), max_size=10)
ONE = Traits(labels=("a", "b", "c"), function="softmax")
MANY = Traits(labels=("a", "b", "c"), function="sigmoid")


def window(logits: list[float], *, weight: int = 1, tokens: int = 3) -> Window:
    return Window(arrays={"logits": np.array(logits, np.float32)}, tokens=tokens, weight=weight)


def scores(result: Classification) -> dict[str, float]:
    return {label.name: label.score for label in result.labels}


@given(NAMES, st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1), st.booleans(), st.data())
def test_what_is_packed_comes_back_exactly(
    names: list[str], tokens: int, windows: int, truncated: bool, data: st.DataObject
):
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    labels = tuple(Label(name, data.draw(numbers)) for name in names)
    result = Classification(labels=labels, tokens=tokens, truncated=truncated, windows=windows)
    assert unpack(pack(result)) == result


@given(LOGITS)
def test_probabilities_of_one_label_among_all_add_up_to_one(logits: np.ndarray):
    traits = Traits(labels=tuple(map(str, range(len(logits)))), function="softmax")
    found = finish("", [window(list(logits))], False, Options(), traits)
    assert sum(scores(found).values()) == pytest.approx(1)
    assert [label.score for label in found.labels] == sorted(scores(found).values(), reverse=True)


@given(LOGITS)
def test_probabilities_of_labels_by_themselves_are_each_their_own(logits: np.ndarray):
    names = tuple(map(str, range(len(logits))))
    whole = scores(finish("", [window(list(logits))], False, Options(), Traits(labels=names, function="sigmoid")))
    for name, logit in zip(names, logits, strict=True):
        alone = finish("", [window([logit])], False, Options(), Traits(labels=("x",), function="sigmoid"))
        assert whole[name] == alone.labels[0].score
        assert 0 <= whole[name] <= 1


def test_the_functions_are_softmax_and_sigmoid():
    logits = [1.0, -2.0, 0.5]
    powers = np.exp(logits)
    expected = dict(zip("abc", powers / powers.sum(), strict=True))
    assert scores(finish("", [window(logits)], False, Options(), ONE)) == pytest.approx(expected)
    expected = dict(zip("abc", 1 / (1 + np.exp(-np.array(logits))), strict=True))
    assert scores(finish("", [window(logits)], False, Options(), MANY)) == pytest.approx(expected)
    assert scores(finish("", [window(logits)], False, Options(raw=True), MANY)) == dict(zip("abc", logits, strict=True))


def test_labels_come_the_best_first_and_equal_ones_in_the_models_order():
    found = finish("", [window([1, 2, 1])], True, Options(raw=True), ONE)
    assert found.labels == (Label("b", 2.0), Label("a", 1.0), Label("c", 1.0))
    assert (found.tokens, found.truncated, found.windows) == (3, True, 1)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (Options(top_k=1), "b"),
        (Options(top_k=9), "bac"),
        (Options(threshold=0.2), "ba"),
        (Options(threshold=0.2, top_k=1), "b"),
        (Options(threshold=1.1), ""),
        (Options(raw=True, threshold=-3.0), "ba"),
    ],
)
def test_fewer_labels_are_returned_if_that_is_asked_for(options: Options, names: str):
    found = finish("", [window([1, 2, -4])], False, options, ONE)
    assert "".join(label.name for label in found.labels) == names


def test_of_one_label_among_all_the_mean_of_the_windows_counts_by_their_tokens():
    windows = [window([1, 2, 3], weight=6, tokens=8), window([3, 2, 0], weight=2, tokens=4)]
    parts = [scores(finish("", [each], False, Options(), ONE)) for each in windows]
    found = finish("", windows, False, Options(), ONE)
    assert scores(found) == pytest.approx({name: (6 * parts[0][name] + 2 * parts[1][name]) / 8 for name in "abc"})
    assert (found.tokens, found.windows) == (12, 2)


def test_of_labels_by_themselves_the_greatest_of_the_windows_counts():
    windows = [window([1, -2, 3], weight=6), window([3, 2, 0], weight=2)]
    assert scores(finish("", windows, False, Options(raw=True), MANY)) == {"a": 3.0, "b": 2.0, "c": 3.0}


def test_the_task_is_found_by_its_name():
    assert TASK.name == "classify"
