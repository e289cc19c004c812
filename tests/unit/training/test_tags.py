import pytest

from headrace.training.tags import is_tag, spans_of, with_beginnings


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-X I-X O B-X B-X", {(0, 2, "X"), (3, 4, "X"), (4, 5, "X")}),
        ("B-X I-Y", {(0, 1, "X"), (1, 2, "Y")}),
        ("I-X I-X O I-X", {(0, 2, "X"), (3, 4, "X")}),
        ("U-X B-Y I-Y L-Y U-Y", {(0, 1, "X"), (1, 4, "Y"), (4, 5, "Y")}),
        ("S-X B-Y E-Y S-Y O", {(0, 1, "X"), (1, 3, "Y"), (3, 4, "Y")}),
        ("B-X-Y I-X-Y", {(0, 2, "X-Y")}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_spans_are_read_from_every_scheme(tags: str, spans: set[tuple[int, int, str]]):
    assert spans_of(tags.split()) == spans


@pytest.mark.parametrize("tag", ["O", "B-X", "I-a b", "L-1", "U-X", "E-X", "S-X", "B-X-Y"])
def test_tags_are_told(tag: str):
    assert is_tag(tag)


@pytest.mark.parametrize("tag", ["", "B", "B-", "-X", "X", "PER", "o", "Z-X"])
def test_what_is_no_tag_is_told(tag: str):
    assert not is_tag(tag)


def test_spans_without_a_beginning_get_one():
    assert with_beginnings(["I-X", "I-X", "B-X", "I-Y", "O", "I-Y"]) == ("B-X", "I-X", "B-X", "B-Y", "O", "B-Y")
    assert spans_of(with_beginnings(["I-X", "I-X", "B-X", "I-Y"])) == spans_of(["I-X", "I-X", "B-X", "I-Y"])
