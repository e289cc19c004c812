from pathlib import Path
from typing import Any

import pytest
from bench.chaos.swaps import Seen, Swapped, _broken, promises


def seen(**changes: Any) -> Seen:
    return Seen(**{"by_revision": {"a": 5, "b": 4, "c": 3}, **changes})


def swapped(**changes: Any) -> Swapped:
    return Swapped(**{"took_s": [1.0, 3.0, 2.0], "refused": 1, "memory_bytes": [150, 205], **changes})


def kept(*given: Any) -> list[bool]:
    return [promise.is_kept for promise in promises(*given)]


def test_switches_that_nobody_notices_keep_the_promises() -> None:
    first, second = promises(seen(), swapped(), 100)
    assert (first.is_kept, second.is_kept) == (True, True)
    assert "4 switches in 2.0 s (1.0 to 3.0), 1 of them to a broken version refused, 0 of 12 requests" in first.measured
    assert (first.values["answered"], first.values["memory_ratio"]) == (12, 2.05)


@pytest.mark.parametrize(
    ("clients", "switches", "expected"),
    [
        (seen(wrong=["status 500"]), swapped(), [False, True]),
        (seen(by_revision={"a": 5}), swapped(), [False, True]),  # the others were never asked
        (seen(by_revision={}), swapped(), [False, True]),
        (seen(), swapped(wrong=["status 200 for a version that is broken"]), [False, True]),
        (seen(), swapped(memory_bytes=[100, 211]), [True, False]),
        (seen(), swapped(memory_bytes=[]), [True, False]),
    ],
)
def test_what_a_client_should_not_have_seen_breaks_them(clients: Seen, switches: Swapped, expected: list[bool]) -> None:
    assert kept(clients, switches, 100) == expected


def test_a_file_is_broken_as_long_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with _broken(path):
        assert path.read_bytes() == b"abceef"
    assert path.read_bytes() == b"abcdef"
