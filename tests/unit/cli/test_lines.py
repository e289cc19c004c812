import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli.lines import Line, chunked, read_json_lines, read_texts
from headrace.errors import HeadraceError, RequestInvalid, RequestMalformed, RequestTooLarge


def texts(data: bytes, max_bytes: int = 100) -> list[Line]:
    return list(read_texts(io.BytesIO(data), max_bytes=max_bytes))


def objects(data: bytes, field: str = "text") -> list[Line]:
    return list(read_json_lines(io.BytesIO(data), field=field, max_bytes=100))


def test_every_line_is_a_text_and_an_empty_line_too() -> None:
    assert texts(b"one\n\r\nthree") == [Line(1, "one"), Line(2, ""), Line(3, "three")]


def test_an_empty_file_has_no_text() -> None:
    assert texts(b"") == []
    assert objects(b"") == []


def test_a_byte_order_mark_belongs_to_no_text() -> None:
    assert texts(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n") == [Line(1, "one"), Line(2, "\ufefftwo")]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]))))
def test_what_was_written_as_lines_is_read_back(written: list[str]) -> None:
    data = "".join(f"{text}\n" for text in written).encode()
    assert [line.text for line in texts(data, max_bytes=10_000)] == written


def test_invalid_utf_8_names_the_line_and_the_byte() -> None:
    with pytest.raises(RequestMalformed, match=r"line 2 .* \(byte 3\)") as error:
        texts(b"fine\nno\xff\n")
    assert error.value.field == "line 2"


def test_a_line_over_the_limit_is_refused_before_it_is_read_to_its_end() -> None:
    assert texts(b"x" * 9 + b"\n", max_bytes=10)
    source = io.BytesIO(b"x" * 1000)
    with pytest.raises(RequestTooLarge, match="line 1 "):
        list(read_texts(source, max_bytes=10))
    assert source.tell() == 11


def test_json_lines_give_the_field_and_skip_blank_lines() -> None:
    assert objects(b'{"text": "one", "id": 1}\n\n  \n{"text": "two"}\n') == [Line(1, "one"), Line(4, "two")]
    assert objects(b'{"body": "one"}', field="body") == [Line(1, "one")]


@pytest.mark.parametrize("bad", [b"{", b'"text"', b"[]", b'{"text": "\\ud800"}', b'{"text": NaN}', b"\xff"])
def test_a_line_that_is_no_json_object_is_named(bad: bytes) -> None:
    with pytest.raises(RequestMalformed, match="line 2 ") as error:
        objects(b'{"text": "one"}\n' + bad)
    assert error.value.field == "line 2"


@pytest.mark.parametrize(("bad", "what"), [(b"{}", "missing"), (b'{"text": 1}', "no string"), (b'{"text":null}', "no")])
def test_a_field_that_is_no_text_is_named(bad: bytes, what: str) -> None:
    with pytest.raises(RequestInvalid, match=f"line 1: the field 'text' is {what}"):
        objects(bad)


@given(st.integers(0, 20), st.integers(1, 7))
def test_chunks_hold_every_line_in_order(count: int, size: int) -> None:
    lines = [Line(number, str(number)) for number in range(count)]
    chunks = list(chunked(iter(lines), size))
    assert [line for chunk in chunks for line in chunk] == lines
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks)


@pytest.mark.parametrize("good", range(5))
def test_what_was_read_before_an_error_comes_before_it(good: int) -> None:
    def broken() -> Iterator[Line]:
        yield from (Line(number, "") for number in range(good))
        raise RequestMalformed("broken")

    chunks = chunked(broken(), 2)
    seen = [next(chunks) for _ in range((good + 1) // 2)]
    assert sum(len(chunk) for chunk in seen) == good
    with pytest.raises(HeadraceError, match="broken"):
        next(chunks)
