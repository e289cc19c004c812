"""Headers that are looked up say what Starlette's say, which are searched."""

from unittest.mock import AsyncMock

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from headrace.api.rest.headers import HeadedRequest, headers_of

names = st.sampled_from(["host", "x-request-id", "content-type", "x"])
lists = st.lists(st.tuples(names.map(str.encode), st.binary(max_size=4)), max_size=6)


@given(lists, names, st.sampled_from([str, str.upper, str.title]))
def test_they_say_what_the_searched_ones_say(pairs: list[tuple[bytes, bytes]], name: str, spell: type[str]):
    scope = {"type": "http", "headers": pairs}
    found, searched = headers_of(scope), Headers(scope=scope)
    wanted = spell(name)
    assert found.getlist(wanted) == searched.getlist(wanted)
    assert found.get(wanted) == searched.get(wanted)
    assert found.get(wanted, "else") == searched.get(wanted, "else")
    assert (wanted in found) == (wanted in searched)
    assert found.items() == searched.items()


def test_a_request_looks_through_them_once():
    scope = {"type": "http", "headers": [(b"host", b"x")]}
    first, second = (HeadedRequest(scope, AsyncMock(), AsyncMock()) for _ in range(2))
    assert first.headers is second.headers is headers_of(scope)
