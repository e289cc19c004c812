from pathlib import Path

import pytest

from headrace.errors import DataInvalid
from headrace.training.columns import Columns
from headrace.training.tables import Table

LABELLED = ("text", "label")


def table(*columns: str) -> Table:
    return Table(Path("data.csv"), columns, ())


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (("id", "text", "label"), {"text": "text", "label": "label"}),
        (("Review", "Sentiment"), {"text": "Review", "label": "Sentiment"}),
        (("what they wrote", "class"), {"text": "what they wrote", "label": "class"}),
        (("sentence", "verdict"), {"text": "sentence", "label": "verdict"}),
    ],
)
def test_columns_are_guessed_by_their_names(columns: tuple[str, ...], found: dict[str, str]):
    assert Columns(LABELLED).find(table(*columns)) == found


def test_a_column_that_was_named_wins():
    assert Columns(LABELLED, chosen={"text": "id"}).find(table("id", "text", "label"))["text"] == "id"


def test_a_column_has_one_role():
    assert Columns(("query", "passage")).find(table("text", "query")) == {"query": "query", "passage": "text"}


def test_an_optional_column_may_be_missing():
    assert Columns(("text",), ("label",)).find(table("text", "other")) == {"text": "text"}


def test_what_cannot_be_guessed_is_asked_for():
    with pytest.raises(
        DataInvalid,
        match="no column looks like the label; its columns are 'text', 'p', 'q': name one with --column label=NAME",
    ):
        Columns(LABELLED).find(table("text", "p", "q"))


def test_a_column_that_was_named_must_be_there():
    with pytest.raises(DataInvalid, match="has no column 'body' for the text"):
        Columns(LABELLED, chosen={"text": "body"}).find(table("text", "label"))
