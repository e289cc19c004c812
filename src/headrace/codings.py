"""Content that is compressed on its way over HTTP: gzip and zstd, written fast, and read within bounds."""

import sys
import zlib
from collections.abc import Mapping
from typing import Final, Literal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # the same module, for Pythons that have none

Coding = Literal["zstd", "gzip"]

CODINGS: Final[tuple[Coding, ...]] = ("zstd", "gzip")
"""As ``Content-Encoding`` has them, the one that is the better and the faster first."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 1  # of either: more takes longer and saves next to nothing, see docs/decisions/0040
_WINDOW_LOG: Final = 23  # 8 MiB, more than which nobody has to keep (RFC 9659)
_BOUNDED: Final[Mapping[int, int]] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}


class ContentCorrupt(Exception):
    """It is not what its coding says, cut off, or more than one frame."""


class ContentOverlong(Exception):
    """It expands to more than it may."""


def find_coding(name: str) -> Coding | None:
    """Return the coding of a name, if there is one."""
    return next((coding for coding in CODINGS if coding == name), None)


def compress(data: bytes | memoryview, coding: Coding) -> bytes:
    """Return data compressed; the same for the same data. Other threads run meanwhile."""
    if coding == "gzip":
        return zlib.compress(data, level=_LEVEL, wbits=_GZIP)
    return zstd.compress(data, level=_LEVEL)


def decompress(data: bytes, coding: Coding, most: int) -> bytes:
    """Return what data expands to; no more than that is kept in memory at any time, and a window of 8 MiB.

    Args:
        data: Exactly one frame.
        coding: What it is compressed with.
        most: Bytes that it may expand to.

    Raises:
        ContentCorrupt: It is no such frame, wants a dictionary, or a larger window.
        ContentOverlong: It expands to more.
    """
    stream = zlib.decompressobj(_GZIP) if coding == "gzip" else zstd.ZstdDecompressor(options=_BOUNDED)
    try:
        plain = stream.decompress(data, most + 1)
    except (zlib.error, zstd.ZstdError) as error:
        raise ContentCorrupt from error
    if len(plain) > most:
        raise ContentOverlong
    if not stream.eof or stream.unused_data:
        raise ContentCorrupt
    return plain
