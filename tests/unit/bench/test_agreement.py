import numpy as np
from bench.agreement import Row, compare_named, compare_numbers, render


def test_numbers_are_the_same_within_the_tolerance() -> None:
    found = np.array([[1.0, 2.0], [3.0, 4.0]])
    row = compare_numbers("t", "r", found, found + 1e-6)
    assert (row.compared, row.same, round(row.difference, 9)) == (2, 2, 1e-6)
    apart = compare_numbers("t", "r", found, found + np.array([[0, 0], [0, 0.5]]))
    assert (apart.compared, apart.same, apart.difference) == (2, 1, 0.5)


def test_what_is_named_must_be_of_the_same_things() -> None:
    row = compare_named("t", "r", [{"a": 0.5}, {"a": 0.5}, {}, {}], [{"a": 0.5}, {"b": 0.5}, {}, {"a": 1.0}])
    assert (row.compared, row.same, row.difference) == (4, 2, 0.0)
    other = compare_named("t", "r", [{"a": 0.5, "b": 0.1}], [{"a": 0.5, "b": 0.3}])
    assert (other.same, round(other.difference, 9)) == (0, 0.2)


def test_the_page_has_a_row_for_each() -> None:
    page = render([Row("`embed`", "a library", 200, 199, 1.5e-7)])
    assert "| `embed` | a library | 199 of 200 | 1.5e-07 |" in page
    assert page.startswith("<!-- Made by")
