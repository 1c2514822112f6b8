"""Header blocks and their numbers, read as Go's archive/tar reads them."""

from __future__ import annotations

import pytest

from podling.errors import Corrupt
from podling.store.archive import headers, writer
from podling.store.archive.headers import HeaderParser, apply_pax, parse_pax
from podling.store.archive.numbers import format_octal, format_pax_time, parse_decimal, parse_number, parse_pax_time
from tests.support import archives


def parse(block: bytes) -> headers.Entry:
    return HeaderParser().parse(block, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"000644 \0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0\0\0\0\0", 0o644),
        (b"00000644", 0o644),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"777777777777", 0o777777777777),
        (b"12\0garbage", 0o12),
        (b"\x80\0\0\0\0\0\0\x01", 1),
        (b"\x80" + bytes(3) + b"\0\0\0\x02\0\0\0\0", 1 << 33),
        (b"\xff" * 12, -1),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
    ],
)
def test_numbers(field, value):
    assert parse_number(field) == value


@pytest.mark.parametrize(
    "field", [b"0000648\0", b"0000x44\0", b"-000644\0", b"0o00644\0", b"00_0644\0", b"\x80" + b"\xff" * 11]
)
def test_numbers_that_are_none(field):
    with pytest.raises(Corrupt):
        parse_number(field)


@pytest.mark.parametrize("value", [0, 1, 0o7777777, 0o10000000, 1 << 40, -1, -(1 << 33)])
def test_numbers_are_read_as_they_were_written(value):
    assert parse_number(format_octal(value, 12)) == value


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1700000000", 1_700_000_000 * 10**9),
        (b"1.5", 1_500_000_000),
        (b"1.000000001", 1_000_000_001),
        (b"1.0000000019999", 1_000_000_001),
        (b"-1.5", -1_500_000_000),
        (b"-0.5", -500_000_000),
        (b"1.", 1_000_000_000),
        (b"99999999999999999", (1 << 35) * 10**9),
    ],
)
def test_pax_times(text, nanoseconds):
    assert parse_pax_time(text) == nanoseconds


@pytest.mark.parametrize("text", [b"", b".", b".5", b"1.x", b"1e5", b"+1", b"1 ", b"0x1", b"1.5.5", b"9" * 30])
def test_pax_times_that_are_none(text):
    with pytest.raises(Corrupt):
        parse_pax_time(text)


@pytest.mark.parametrize("value", [0, 1, 10**9, 1_500_000_000, -1_500_000_000, -500_000_000, 1_700_000_000_123_456_789])
def test_pax_times_are_read_as_they_were_written(value):
    assert parse_pax_time(format_pax_time(value)) == value


@pytest.mark.parametrize("text", [b"", b"-", b"x", b"1_0", b"1 ", b"+1", b"1.0", b"99999999999999999999"])
def test_pax_numbers_that_are_none(text):
    with pytest.raises(Corrupt):
        parse_decimal(text, "size")


def test_a_header():
    entry = parse(archives.header(b"a/b", size=5, mode=0o4755, uid=7, gid=8, mtime=9))
    assert (entry.name, entry.kind, entry.size, entry.mode, entry.uid, entry.gid, entry.mtime) == (
        b"a/b",
        headers.FILE,
        5,
        0o4755,
        7,
        8,
        9 * 10**9,
    )


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (b"0", headers.FILE),
        (b"\0", headers.FILE),
        (b"7", headers.FILE),
        (b"1", headers.LINK),
        (b"2", headers.SYMLINK),
        (b"3", headers.CHAR),
        (b"4", headers.BLOCK_DEVICE),
        (b"5", headers.DIRECTORY),
        (b"6", headers.FIFO),
    ],
)
def test_kinds(kind, found):
    assert parse(archives.header(b"x", kind)).kind == found


def test_the_old_format_marks_directories_by_their_name():
    assert parse(archives.header(b"x/", b"\0")).kind == headers.DIRECTORY
    assert parse(archives.header(b"x/", b"0")).kind == headers.FILE


@pytest.mark.parametrize("kind", [b"A", b"D", b"M", b"N", b"X", b"9", b"\xff"])
def test_unknown_kinds_are_corrupt(kind):
    with pytest.raises(Corrupt, match="unknown type"):
        parse(archives.header(b"x", kind))


def test_a_prefix_is_part_of_the_name_in_ustar_only():
    assert parse(archives.header(b"name", prefix=b"some/where")).name == b"some/where/name"
    assert parse(archives.header(b"name", prefix=b"0000000", magic=archives.GNU)).name == b"name"
    assert parse(archives.header(b"n" * 100, prefix=b"p" * 155)).name == b"p" * 155 + b"/" + b"n" * 100


def test_a_star_header_has_a_shorter_prefix():
    block = archives.header(b"name", prefix=b"p" * 131, fields={345 + 131: b"00000000000 00000000000 ", 508: b"tar\0"})
    assert parse(block).name == b"p" * 131 + b"/name"


def test_a_wrong_checksum_is_corrupt():
    block = bytearray(archives.header(b"x"))
    block[0] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        parse(bytes(block))


def test_checksums_over_signed_bytes_are_accepted():
    block = bytearray(archives.header(b"\xfc" * 9))
    block[148:156] = b"%06o\0 " % (sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:]))
    assert parse(bytes(block)).name == b"\xfc" * 9


@pytest.mark.parametrize("value", [(1 << 32) - 1, 1 << 32, -1])
def test_ids_that_the_kernel_does_not_know(value):
    with pytest.raises(Corrupt, match="no user or group id"):
        parse(archives.header(b"x", fields={108: format_octal(value, 8)}))


def test_fields_that_repeat_are_remembered_correctly():
    parser = HeaderParser()
    for number in range(9000):
        entry = parser.parse(archives.header(b"x%d" % number, size=number, mtime=number, uid=number % 5000), 0)
        assert (entry.name, entry.size, entry.mtime, entry.uid) == (b"x%d" % number, number, number * 10**9, number % 5000)


def test_pax_records():
    body = archives.pax([(b"path", b"a b=c\nd"), (b"empty", b""), (b"SCHILY.xattr.user.x", b"\0\xff=")])[512:]
    assert parse_pax(body.rstrip(b"\0")) == [(b"path", b"a b=c\nd"), (b"empty", b""), (b"SCHILY.xattr.user.x", b"\0\xff=")]


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"5 a=b",
        b"6 a=b",
        b"99 a=b\n",
        b"6 a b\n",
        b"5 =b\n",
        b"7 \0a=b\n",
        b"-6 a=b\n",
        b"0 a=b\n",
        b"3 a=b\n",
        b" 6 a=b\n",
        b"6a=b\n",
        b"1" * 30 + b" a=b\n",
    ],
)
def test_pax_records_that_are_none(body):
    with pytest.raises(Corrupt):
        parse_pax(body)


def test_pax_records_override_the_header_and_empty_ones_do_not():
    entry = parse(archives.header(b"x", size=5, uid=1, gid=2))
    apply_pax(
        entry,
        [
            (b"path", b"long"),
            (b"size", b"7"),
            (b"uid", b"70000"),
            (b"gid", b""),
            (b"mtime", b"3.25"),
            (b"linkpath", b"l"),
            (b"SCHILY.xattr.user.a", b"1"),
            (b"comment", b"nothing"),
        ],
    )
    assert (entry.name, entry.size, entry.uid, entry.gid, entry.mtime, entry.link, entry.xattrs) == (
        b"long",
        7,
        70000,
        2,
        3_250_000_000,
        b"l",
        {b"user.a": b"1"},
    )


@pytest.mark.parametrize(
    "values",
    [
        {"name": b"short"},
        {"name": b"n" * 100},
        {"name": b"d/" + b"n" * 150},
        {"name": "ü".encode()},
        {"name": b"x", "size": 1 << 40},
        {"name": b"x", "uid": 1 << 22, "gid": 1 << 31},
        {"name": b"x", "mtime": 5 * 10**9 + 1},
        {"name": b"x", "mtime": -(10**9)},
        {"name": b"x", "kind": b"2", "link": b"l" * 300},
        {"name": b"x", "kind": b"3", "device": (8, 1)},
        {"name": b"x", "xattrs": {b"user.a": b"\0\n=", b"security.capability": b"\1"}},
        {"name": b"x", "mode": 0o7777},
    ],
)
def test_headers_are_read_as_they_were_written(values):
    from podling.store.archive.reader import Reader, Stream

    data = writer.header(**values)
    entry = Reader(Stream(archives.reader(data + archives.END), lambda piece: None)).next()
    for field, value in values.items():
        if field == "device":
            assert headers.device_number(entry) == value
        elif field == "kind":
            assert entry.kind == {b"2": headers.SYMLINK, b"3": headers.CHAR}[value]
        else:
            assert getattr(entry, field) == value
