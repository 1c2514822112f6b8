"""Sparse files in all four forms, unpacked and packed again."""

from __future__ import annotations

import os

import pytest

from podling.errors import Corrupt
from podling.store.archive.numbers import format_octal
from tests.support import archives

SEGMENTS = [(0, 700), (8192, 512), (20000, 1), (40000, 0)]
DATA = [b"A" * 700, b"B" * 512, b"C"]
REAL = 40000


def expected() -> bytes:
    content = bytearray(REAL)
    for (offset, length), data in zip(SEGMENTS, DATA, strict=False):
        content[offset : offset + length] = data
    return bytes(content)


def gnu_map(segments: list[tuple[int, int]]) -> bytes:
    return b"".join(archives.octal(offset, 12) + archives.octal(length, 12) for offset, length in segments)


def old_gnu(segments: list[tuple[int, int]], data: bytes, real: int) -> bytes:
    first, rest = segments[:4], segments[4:]
    out = archives.header(
        b"s",
        b"S",
        size=len(data),
        magic=archives.GNU,
        fields={386: gnu_map(first), 482: b"\1" if rest else b"\0", 483: archives.octal(real, 12)},
    )
    while rest:
        block, rest = gnu_map(rest[:21]), rest[21:]
        out += block.ljust(504, b"\0") + (b"\1" if rest else b"\0") + bytes(7)
    return out + archives.padded(data)


def pax_0_0(segments: list[tuple[int, int]], data: bytes, real: int) -> bytes:
    records = [(b"GNU.sparse.size", b"%d" % real), (b"GNU.sparse.numblocks", b"%d" % len(segments))]
    for offset, length in segments:
        records += [(b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % length)]
    return archives.pax(records) + archives.member(b"s", data)


def pax_0_1(segments: list[tuple[int, int]], data: bytes, real: int) -> bytes:
    text = b",".join(b"%d,%d" % segment for segment in segments)
    records = [
        (b"GNU.sparse.size", b"%d" % real),
        (b"GNU.sparse.numblocks", b"%d" % len(segments)),
        (b"GNU.sparse.map", text),
        (b"GNU.sparse.name", b"s"),
    ]
    return archives.pax(records) + archives.member(b"GNUSparseFile.1/s", data)


def pax_1_0(segments: list[tuple[int, int]], data: bytes, real: int) -> bytes:
    text = b"%d\n" % len(segments) + b"".join(b"%d\n%d\n" % segment for segment in segments)
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"s"),
        (b"GNU.sparse.realsize", b"%d" % real),
    ]
    return archives.pax(records) + archives.member(b"GNUSparseFile.1/s", archives.padded(text) + data)


FORMS = [old_gnu, pax_0_0, pax_0_1, pax_1_0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [1, 300, 1 << 20])
def test_sparse_files(form, most, tmp_path):
    data = archives.archive(form(SEGMENTS, b"".join(DATA), REAL), archives.member(b"after", b"1"))
    unpacked = archives.assert_round_trip(tmp_path / "layer", data, most=most)
    assert (tmp_path / "layer/diff/s").read_bytes() == expected()
    assert (tmp_path / "layer/diff/after").read_bytes() == b"1"
    assert unpacked.size == REAL + 1


@pytest.mark.parametrize("form", FORMS)
def test_many_segments(form, tmp_path):
    segments = [(number * 1000, 10) for number in range(200)]
    data = archives.archive(form(segments, b"x" * 2000, 200_000))
    archives.assert_round_trip(tmp_path / "layer", data)
    assert (tmp_path / "layer/diff/s").read_bytes()[5000:5011] == b"x" * 10 + b"\0"


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_one_hole(form, tmp_path):
    archives.assert_round_trip(tmp_path / "layer", archives.archive(form([], b"", 1 << 32), archives.member(b"after", b"1")))
    assert os.stat(tmp_path / "layer/diff/s").st_size == 1 << 32


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("segments", "stored", "real"),
    [
        ([(0, 10), (5, 10)], 20, 100),
        ([(10, 10), (0, 10)], 20, 100),
        ([(0, 10)], 20, 100),
        ([(0, 20)], 10, 100),
        ([(95, 10)], 10, 100),
        ([(0, 10)], 10, 5),
    ],
)
def test_maps_that_contradict_themselves_are_corrupt(form, segments, stored, real, tmp_path):
    with pytest.raises(Corrupt):
        archives.unpack_into(tmp_path / "layer", archives.archive(form(segments, b"x" * stored, real)))


@pytest.mark.parametrize(
    "records",
    [
        [(b"GNU.sparse.map", b"1,2,3")],
        [(b"GNU.sparse.map", b"a,b")],
        [(b"GNU.sparse.map", b"-1,1")],
        [(b"GNU.sparse.offset", b"1")],
        [(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")],
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")],
    ],
)
def test_maps_that_are_none_are_corrupt(records, tmp_path):
    with pytest.raises(Corrupt):
        archives.unpack_into(tmp_path / "layer", archives.archive(archives.pax(records), archives.member(b"s", b"xyz" * 300)))


@pytest.mark.parametrize("text", [b"99999999\n", b"-1\n", b"x\n", b"1\n5\n", b"1\n" + b"0" * 2000 + b"\n0\n"])
def test_maps_in_the_content_that_are_none_are_corrupt(text, tmp_path):
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10")]
    data = archives.archive(archives.pax(records), archives.member(b"s", archives.padded(text)))
    with pytest.raises(Corrupt):
        archives.unpack_into(tmp_path / "layer", data)


def test_too_many_segments_are_corrupt_before_they_fill_the_memory(tmp_path):
    block = gnu_map([(0, 0)] * 21).ljust(504, b"\0") + b"\1" + bytes(7)
    first = archives.header(
        b"s", b"S", magic=archives.GNU, fields={386: gnu_map([(0, 0)] * 4), 482: b"\1", 483: format_octal(1, 12)}
    )
    endless = [first]

    def read(size):
        return endless.pop() if endless else block * 2000

    layer = tmp_path / "layer"
    layer.mkdir()
    from podling.store.archive.unpack import unpack

    fd = os.open(layer, os.O_RDONLY)
    with pytest.raises(Corrupt, match="segments"):
        unpack(read, fd)
    os.close(fd)
