"""Tar headers as values: one block of 512 bytes, and the records of pax extended headers.

The formats are ustar, GNU, pax, star and the old Unix one; where they leave room for doubt, Go's archive/tar decides, because
it has written and read the images that exist.
"""

from __future__ import annotations

import struct
import zlib

from podling.errors import Corrupt
from podling.store.archive.numbers import bounded_time, parse_decimal, parse_number, parse_pax_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.store.archive.sparse import Segments

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
LONGEST_NAME = 4095                          # a path that a system call takes
LARGEST_ID = (1 << 32) - 2                   # the last one means "leave it as it is" to chown

FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = range(7)
PAX, PAX_GLOBAL, GNU_NAME, GNU_LINK, GNU_SPARSE, LABEL = range(7, 13)
_KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"1": LINK, b"2": SYMLINK, b"3": CHAR, b"4": BLOCK_DEVICE, b"5": DIRECTORY, b"6": FIFO,
    b"x": PAX, b"g": PAX_GLOBAL, b"L": GNU_NAME, b"K": GNU_LINK, b"S": GNU_SPARSE, b"V": LABEL,
}
_SUM_MODULUS = 65521                         # of Adler-32, whose low half is the sum of the bytes
_CACHED = 4096
XATTR = b"SCHILY.xattr."

# name | mode uid gid | size | mtime | checksum | type | link | magic | (names of owner and group) | devices | prefix | (star)
_split = struct.Struct("100s24s12s12s8sc100s8s64x8s8s155s8x4s").unpack


class Entry:
    """One member of an archive, with what its extended headers said.

    ``size`` counts the bytes of content that follow in the archive; ``real_size`` those of the file, more where it is sparse.
    Times are nanoseconds, names bytes.
    """

    __slots__ = ("devices", "gid", "index", "kind", "link", "mode", "mtime", "name", "real_size", "size", "sparse", "uid",
                 "xattrs")

    name: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    real_size: int
    mtime: int
    link: bytes
    devices: tuple[bytes, bytes]
    xattrs: dict[bytes, bytes] | None
    sparse: Segments | None
    index: int


class HeaderParser:
    """Parses header blocks; it remembers fields, because most repeat from one header to the next."""

    def __init__(self) -> None:
        self._ids: dict[bytes, tuple[int, int, int]] = {}
        self._times: dict[bytes, int] = {}
        self._sums: dict[bytes, int] = {}

    def parse(self, block: bytes, offset: int) -> Entry:
        """The entry of one header block that is not all zero; ``offset`` is where it was found, for errors."""
        name, ids, size, mtime, checksum, kind, link, magic, major, minor, prefix, star = _split(block)
        expected = self._sums.get(checksum)
        if expected is None:
            expected = _remember(self._sums, checksum, _expected_sum(checksum))
        if zlib.adler32(block, 0) & 0xFFFF != expected and not _is_signed_sum(block, checksum):
            raise Corrupt(f"tar header at byte {offset}: its checksum is wrong")
        entry = Entry()
        found = _KINDS.get(kind)
        if found is None:
            raise Corrupt(f"tar header at byte {offset}: unknown type {kind!r}")
        end = name.find(0)
        name = name[:end] if end >= 0 else name
        if prefix[0] and magic[:6] == b"ustar\0":
            if star == b"tar\0":
                prefix = prefix[:131]
            name = prefix.partition(b"\0")[0] + b"/" + name
        entry.name = name
        if kind == b"\0" and name[-1:] == b"/":
            found = DIRECTORY
        entry.kind = found
        values = self._ids.get(ids)
        if values is None:
            values = _remember(self._ids, ids, _parse_ids(ids))
        entry.mode, entry.uid, entry.gid = values
        entry.size = entry.real_size = parse_number(size)
        seconds = self._times.get(mtime)
        if seconds is None:
            seconds = _remember(self._times, mtime, bounded_time(parse_number(mtime)))
        entry.mtime = seconds
        if found != FILE and found != DIRECTORY:
            entry.link = link.partition(b"\0")[0]
            entry.devices = (major, minor)
        entry.xattrs = entry.sparse = None
        return entry


def _remember(cache: dict, key: bytes, value):  # type: ignore[no-untyped-def,type-arg]
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value
    return value


def _parse_ids(field: bytes) -> tuple[int, int, int]:
    mode, uid, gid = parse_number(field[:8]), parse_number(field[8:16]), parse_number(field[16:])
    return mode & 0o7777, checked_id(uid), checked_id(gid)


def checked_id(value: int) -> int:
    """The user or group id, if the kernel has such a one."""
    if not 0 <= value <= LARGEST_ID:
        raise Corrupt(f"tar header: there is no user or group id {value}")
    return value


def _expected_sum(field: bytes) -> int:
    """What the bytes of the whole block add up to, if the checksum is right: it counts its own field as blanks."""
    return (parse_number(field) - 8 * 0x20 + sum(field)) % _SUM_MODULUS


def _is_signed_sum(block: bytes, field: bytes) -> bool:
    """Whether the checksum is right if bytes are taken as signed, as some old programs did."""
    total = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    return total == parse_number(field)


def device_number(entry: Entry) -> tuple[int, int]:
    """Major and minor number of a device."""
    return parse_number(entry.devices[0]), parse_number(entry.devices[1])


# --- pax records ------------------------------------------------------------------------------------------------------


def parse_pax(body: bytes) -> list[tuple[bytes, bytes]]:
    """The records of an extended header, in order: ``length key=value newline`` each."""
    records = []
    at = 0
    while at < len(body):
        blank = body.find(b" ", at, at + 20)
        digits = body[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise Corrupt("pax header: a record has no length")
        end = at + int(digits)
        key, equals, value = body[blank + 1:end - 1].partition(b"=")
        if end > len(body) or end <= blank + 1 or body[end - 1] != 10 or not equals or not key or 0 in key:
            raise Corrupt("pax header: a record is malformed")
        records.append((key, value))
        at = end
    return records


def apply_pax(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """Let the records override what the header said; an empty value leaves it alone."""
    for key, value in records:
        if not value:
            continue
        if key.startswith(XATTR):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[len(XATTR):]] = value
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"mtime":
            entry.mtime = parse_pax_time(value)
        elif key == b"size":
            entry.size = entry.real_size = parse_decimal(value, "size")
        elif key == b"uid":
            entry.uid = checked_id(parse_decimal(value, "uid"))
        elif key == b"gid":
            entry.gid = checked_id(parse_decimal(value, "gid"))
