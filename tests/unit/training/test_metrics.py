import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from headrace.training import metrics

CLASSES = 4
ANSWERS = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=50)


@given(ANSWERS)
def test_figures_of_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]):
    truth, found = np.array(pairs).T
    table = metrics.confusion(truth, found, CLASSES)
    labels = range(CLASSES)
    assert (table == reference.confusion_matrix(truth, found, labels=labels)).all()
    assert metrics.accuracy(table) == pytest.approx(reference.accuracy_score(truth, found))
    expected = reference.f1_score(truth, found, labels=labels, average="macro", zero_division=0)
    assert metrics.macro_f1(table) == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_figures_of_several_labels_are_those_of_scikit_learn(seed: int, rows: int):
    chooser = np.random.default_rng(seed)
    truth, found = chooser.random((2, rows, 3)) < 0.4
    assert metrics.micro_f1(truth, found) == pytest.approx(
        reference.f1_score(truth, found, average="micro", zero_division=0)
    )
    assert metrics.exact_match(truth, found) == pytest.approx(reference.accuracy_score(truth, found))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=40))
def test_figures_of_numbers_are_those_of_scipy(pairs: list[tuple[int, int]]):
    truth, found = np.array(pairs, dtype=np.float64).T
    assert metrics.rmse(truth, found) == pytest.approx(reference.root_mean_squared_error(truth, found))
    if np.ptp(truth) and np.ptp(found):
        assert metrics.pearson(truth, found) == pytest.approx(stats.pearsonr(truth, found).statistic)
        assert metrics.spearman(truth, found) == pytest.approx(stats.spearmanr(truth, found).statistic)
        assert metrics.r2(truth, found) == pytest.approx(reference.r2_score(truth, found))


def test_what_does_not_vary_has_no_correlation():
    assert metrics.pearson(np.ones(3), np.arange(3.0)) == 0.0
    assert metrics.r2(np.ones(3), np.arange(3.0)) == 0.0


def test_a_span_is_right_if_borders_and_label_are():
    truth = [{(0, 2, "PER"), (4, 5, "LOC")}, {(1, 2, "ORG")}, set()]
    found = [{(0, 2, "PER"), (4, 6, "LOC")}, {(1, 2, "LOC")}, {(0, 1, "ORG")}]
    assert metrics.span_f1(truth, found) == pytest.approx(2 * 1 / (3 + 4))
    assert metrics.span_f1(truth, truth) == 1.0
    assert metrics.span_f1([set()], [set()]) == 0.0
