import gzip
import os
import sys
import tracemalloc

import pytest

from headrace.codings import CODINGS, Coding, ContentCorrupt, ContentOverlong, compress, decompress, find_coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST = 1 << 20
SKIPPED = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"  # a frame that is to be skipped (RFC 8878, 3.1.2)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("data", [b"", b"a", b" " * MOST, os.urandom(5000), b'{"inputs": ["\xc3\xbc"]}' * 999])
def test_what_is_compressed_comes_back(data: bytes, coding: Coding):
    assert decompress(compress(data, coding), coding, MOST) == data
    assert compress(memoryview(data), coding) == compress(data, coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_only_one_whole_frame_is_read(coding: Coding):
    whole = compress(b"some content", coding)
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])  # a checksum, or what ends it
    bad = [b"", b"some content", whole[:-1], whole[:5], whole + b"x", whole * 2, compress(b"", coding) * 1000]
    for data in [*bad, *([damaged] if coding == "gzip" else [])]:
        with pytest.raises(ContentCorrupt):
            decompress(data, coding, MOST)


@pytest.mark.parametrize("coding", CODINGS)
def test_nothing_is_kept_of_what_expands_too_far(coding: Coding):
    bomb = compress(b"\x00" * (256 << 20), coding)
    tracemalloc.start()
    try:
        with pytest.raises(ContentOverlong):
            decompress(bomb, coding, MOST)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST
    finally:
        tracemalloc.stop()
    assert len(decompress(compress(b" " * MOST, coding), coding, MOST)) == MOST
    with pytest.raises(ContentOverlong):
        decompress(compress(b" " * (MOST + 1), coding), coding, MOST)


def test_a_window_is_read_up_to_8_mib():
    def with_window(log: int) -> bytes:
        stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        return stream.compress(b"a") + stream.flush()  # its length is not told, so the window is

    assert decompress(with_window(23), "zstd", MOST) == b"a"
    for log in (24, 27, 30):
        with pytest.raises(ContentCorrupt):
            decompress(with_window(log), "zstd", MOST)
    # As a header says that cannot be meant: 3.75 TiB (RFC 8878, 3.1.1.1.2).
    with pytest.raises(ContentCorrupt):
        decompress(b"\x28\xb5\x2f\xfd\x00\xff\x09\x00\x00a", "zstd", MOST)


def test_frames_beside_the_content_and_dictionaries_are_not_read():
    whole = compress(b"some content", "zstd")
    dictionary = zstd.train_dict([f"content {number}".encode() * 20 for number in range(200)], 1024)
    with_dictionary = zstd.compress(b"content 7" * 20, zstd_dict=dictionary)
    assert zstd.get_frame_info(with_dictionary).dictionary_id
    for data in (SKIPPED + whole, whole + SKIPPED, with_dictionary):
        with pytest.raises(ContentCorrupt):
            decompress(data, "zstd", MOST)
    assert decompress(SKIPPED, "zstd", MOST) == b""  # it is whole, and holds nothing


def test_a_wrong_checksum_is_seen():
    whole = zstd.compress(b"some content", options={zstd.CompressionParameter.checksum_flag: 1})
    assert decompress(whole, "zstd", MOST) == b"some content"
    with pytest.raises(ContentCorrupt):
        decompress(whole[:-1] + bytes([whole[-1] ^ 1]), "zstd", MOST)


def test_blocks_of_nothing_end():
    head, empty = b"\x28\xb5\x2f\xfd\x00\x58", b"\x00\x00\x00"
    assert decompress(head + empty * 100_000 + b"\x01\x00\x00", "zstd", MOST) == b""


def test_gzip_is_what_others_read_and_says_nothing_of_when():
    data = compress(b"some content", "gzip")
    assert gzip.decompress(data) == b"some content"
    assert data[4:8] == bytes(4)


def test_a_coding_is_found_by_its_name():
    assert [find_coding(name) for name in ("zstd", "gzip", "br", "", "GZIP")] == ["zstd", "gzip", None, None, None]
