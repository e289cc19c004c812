"""Bytes that are nearly right."""

import contextlib
import os
import random
import socket
from collections.abc import Sequence
from typing import Final

CASES: Final = int(os.environ.get("FUZZ_CASES", "2000"))
"""How many a test sends; a long run, by hand, sets FUZZ_CASES=100000."""

_WAIT_S: Final = 0.003  # for an answer; what takes longer is not looked at, since most cases have none


def mutate(chance: random.Random, parts: Sequence[bytes]) -> bytes:
    """Return what is made of parts, with one to six mistakes."""
    made = bytearray(b"".join(parts))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made))
        match chance.randrange(5):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                del made[at : at + chance.randint(1, 20)]
            case 2:
                made[at:at] = chance.randbytes(chance.randint(1, 20))
            case 3:
                made[at:at] = chance.choice(parts)
            case _:
                del made[at:]
        if not made:
            made += b"\0"
    return bytes(made)


def throw(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes on a connection of its own; returns the first bytes that come back, if any come soon."""
    with socket.create_connection(address, timeout=20) as connection, contextlib.suppress(OSError):
        connection.sendall(data)
        connection.settimeout(_WAIT_S)
        return connection.recv(65536)
    return b""
