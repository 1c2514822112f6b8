"""Compressed streams, told by their first bytes; broken ones are clear errors, and none takes memory without bound."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
from typing import TYPE_CHECKING

import pytest

from podling.errors import Corrupt, Unsupported
from podling.image import compression
from podling.image.compression import OUTPUT_BLOCK, compressor, decompressed, sniff
from podling.image.outgoing import compressed
from tests.support.images import compress

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = b"".join(b"line %d of text\n" % number for number in range(20_000)) + os.urandom(50_000)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, "gzip": lambda data: gzip.compress(data, 6), "bzip2": bz2.compress, "xz": lzma.compress,
    "zstd": lambda data: compress(data, "zstd")}


def read_all(content: bytes, *, step: int = 1 << 16, most: int = 1 << 20) -> tuple[bytes, str]:
    source = io.BytesIO(content)
    read, kind = decompressed(lambda size: source.read(min(size, step)))
    parts = []
    while data := read(most):
        assert len(data) <= most
        parts.append(data)
    assert read(most) == b""
    return b"".join(parts), kind


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("step", [1 << 20, 999])
def test_each_kind_is_read(kind: str, step: int) -> None:
    assert read_all(PACK[kind](DATA), step=step) == (DATA, kind)


@pytest.mark.parametrize("kind", PACK)
def test_nothing_is_nothing(kind: str) -> None:
    assert read_all(PACK[kind](b""))[0] == b""


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_several_members_are_one_stream(kind: str) -> None:
    assert read_all(b"".join(PACK[kind](part) for part in (b"one ", b"", b"two ", b"three")), step=5)[0] == b"one two three"


def test_zeros_may_follow_gzip() -> None:
    assert read_all(gzip.compress(b"data") + bytes(1000))[0] == b"data"


def test_a_skippable_frame_is_skipped() -> None:
    frame = b"\x52\x2a\x4d\x18" + (10).to_bytes(4, "little") + bytes(10)
    assert read_all(frame + PACK["zstd"](b"data") + frame) == (b"data", "zstd")


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("damage", ["cut", "changed", "followed"])
def test_a_broken_stream_is_corrupt(kind: str, damage: str) -> None:
    whole = PACK[kind](DATA)
    broken = {"cut": whole[:-3], "changed": whole[:5000] + b"\xff\0\xff" + whole[5003:], "followed": whole + b"something"}[damage]
    with pytest.raises(Corrupt):
        read_all(broken)


def test_a_wrong_checksum_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="gzip stream is broken"):
        read_all(gzip.compress(b"data")[:-8] + bytes(8))


def test_a_bomb_comes_in_pieces() -> None:
    bomb = gzip.compress(bytes(40 << 20), 1)
    source = io.BytesIO(bomb)
    read, _ = decompressed(source.read)
    for _ in range(5):
        assert len(read(1 << 16)) <= 1 << 16


def test_zlib_does_where_isal_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "isal"] + ["isal"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert read_all(gzip.compress(DATA) + gzip.compress(b"more") + bytes(9), step=777) == (DATA + b"more", "gzip")
    with pytest.raises(Corrupt):
        read_all(gzip.compress(DATA)[:-3])
    encoder = compressor("gzip")
    assert gzip.decompress(encoder.compress(DATA) + encoder.flush()) == DATA


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compression_is_the_same_however_its_input_is_cut(kind: str) -> None:
    data = DATA * 15
    assert len(data) > 2 * OUTPUT_BLOCK
    ways = [b"".join(compressed(iter([data[at : at + step] for at in range(0, len(data), step)]), kind))
            for step in (1 << 30, 9_999, 1 << 20, 77_777)]
    assert len(set(ways)) == 1
    assert read_all(ways[0]) == (data, kind)


def test_zstd_in_a_thread_is_the_same_each_time() -> None:
    source = random.Random(1)
    pool = source.randbytes(1 << 16)
    data = b"".join([pool[at : at + 3000] for at in (source.randrange(len(pool)) for _ in range(5000))])
    ways = [b"".join(compressed(iter([data[at : at + step] for at in range(0, len(data), step)]), "zstd", alongside=True))
            for step in (1 << 30, 999_999, 1 << 20, 3 << 20, 77_777, 1 << 30)]
    assert len(set(ways)) == 1
    assert read_all(ways[0]) == (data, "zstd")


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(Unsupported, match="'lz4'"):
        compressor("lz4")


def test_sniffing_needs_the_whole_magic() -> None:
    assert [sniff(data) for data in (b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0", b"ustar\0")] == ["", "", "gzip", ""]
    assert compression.MAGIC_LENGTH == 6
