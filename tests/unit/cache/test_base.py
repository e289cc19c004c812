import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cache.base import KEY_BYTES, make_key, seal, unseal

PARTS = {"revision": "r", "task": "embed", "options": "truncate=error", "scope": "", "text": "a text"}
# Lone surrogates included: Python strings may hold them.
ANY_TEXT = st.text(st.characters(codec=None), max_size=8)


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    expected = "a5fc746a"
    assert make_key(**PARTS).hex()[:8] == expected
    assert len(make_key(**PARTS)) == KEY_BYTES


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_the_key(part: str) -> None:
    assert make_key(**{**PARTS, part: PARTS[part] + "x"}) != make_key(**PARTS)


@given(first=st.lists(ANY_TEXT, min_size=5, max_size=5), second=st.lists(ANY_TEXT, min_size=5, max_size=5))
def test_two_lists_of_parts_never_spell_the_same_key(first: list[str], second: list[str]) -> None:
    keys = [make_key(**dict(zip(PARTS, parts, strict=True))) for parts in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)


def test_a_character_that_moves_from_one_part_to_the_next_changes_the_key() -> None:
    assert make_key(**{**PARTS, "scope": "a", "text": "b"}) != make_key(**{**PARTS, "scope": "", "text": "ab"})


@given(key=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), value=st.binary())
def test_what_was_sealed_comes_out_again(key: bytes, value: bytes) -> None:
    assert unseal(key, seal(key, value)) == value


@pytest.mark.parametrize("entry", [None, b"", bytes(KEY_BYTES - 1), seal(bytes(KEY_BYTES), b"another's value")])
def test_an_entry_of_another_key_is_a_miss(entry: bytes | None) -> None:
    assert unseal(make_key(**PARTS), entry) is None
