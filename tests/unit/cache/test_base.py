import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cache.base import KEY_BYTES, make_key, seal, unseal

PARTS = {"revision": "r", "task": "embed", "options": "truncate=error", "scope": ""}
# Lone surrogates included: Python strings may hold them.
ANY_TEXT = st.text(st.characters(codec=None), max_size=8)


def key_of(text: str = "a text", *more: str, **changes: str) -> bytes:
    return make_key(**{**PARTS, **changes}, texts=(text, *more))


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    expected = "a5fc746a"
    assert key_of().hex()[:8] == expected
    assert len(key_of()) == KEY_BYTES


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_the_key(part: str) -> None:
    assert key_of(**{part: PARTS[part] + "x"}) != key_of()
    assert key_of("another") != key_of() != key_of("a text", "and another")


@given(first=st.lists(ANY_TEXT, min_size=5, max_size=6), second=st.lists(ANY_TEXT, min_size=5, max_size=6))
def test_two_lists_of_parts_never_spell_the_same_key(first: list[str], second: list[str]) -> None:
    keys = [key_of(*parts[4:], **dict(zip(PARTS, parts, strict=False))) for parts in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)


def test_a_character_that_moves_from_one_part_to_the_next_changes_the_key() -> None:
    assert key_of("b", scope="a") != key_of("ab", scope="")
    assert key_of("a", "b") != key_of("ab", "") != key_of("", "ab")


@given(key=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), value=st.binary())
def test_what_was_sealed_comes_out_again(key: bytes, value: bytes) -> None:
    assert unseal(key, seal(key, value)) == value


@pytest.mark.parametrize("entry", [None, b"", bytes(KEY_BYTES - 1), seal(bytes(KEY_BYTES), b"another's value")])
def test_an_entry_of_another_key_is_a_miss(entry: bytes | None) -> None:
    assert unseal(key_of(), entry) is None
