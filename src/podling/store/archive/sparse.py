"""Sparse files in tar archives: GNU's old form and the three that go by pax records.

A map is a list of segments, (offset in the file, length); only their bytes are in the archive.
"""

from __future__ import annotations

from podling.errors import Corrupt
from podling.store.archive.headers import BLOCK, Entry
from podling.store.archive.numbers import parse_decimal, parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Segments = list[tuple[int, int]]
    Take = Callable[[int], bytes]

MOST_SEGMENTS = 1 << 18
_MAJOR, _MINOR = b"GNU.sparse.major", b"GNU.sparse.minor"


def read_gnu(entry: Entry, block: bytes, take: Take) -> None:
    """The map of an old GNU header (type S), which goes on in blocks of its own where four segments are not enough."""
    segments = _gnu_pairs(block, 386, 4)
    more = block[482]
    entry.real_size = parse_number(block[483:495])
    while more:
        _check_count(len(segments))
        block = take(BLOCK)
        segments += _gnu_pairs(block, 0, 21)
        more = block[504]
    _set_map(entry, segments)


def _gnu_pairs(block: bytes, start: int, count: int) -> Segments:
    pairs = []
    for at in range(start, start + 24 * count, 24):
        if block[at + 12] == 0:
            break
        pairs.append((parse_number(block[at:at + 12]), parse_number(block[at + 12:at + 24])))
    return pairs


def read_pax(entry: Entry, records: list[tuple[bytes, bytes]], take: Take) -> None:
    """The map of a file whose pax records say that it is sparse; nothing for others."""
    said = dict(records)
    if said.get(_MAJOR) == b"1" and said.get(_MINOR) == b"0":
        segments = _map_in_content(entry, take)
    elif _MAJOR in said and (said[_MAJOR], said.get(_MINOR)) not in ((b"0", b"0"), (b"0", b"1")):
        raise Corrupt(f"pax header: unknown form of sparse file {said[_MAJOR]!r}.{said.get(_MINOR)!r}")
    elif b"GNU.sparse.map" in said:
        words = said[b"GNU.sparse.map"]
        segments = _pairs([parse_decimal(word, "GNU.sparse.map") for word in words.split(b",")] if words else [])
    elif b"GNU.sparse.offset" in said:
        segments = _pairs([parse_decimal(value, "GNU.sparse") for key, value in records
                           if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")])
    elif b"GNU.sparse.numblocks" in said:
        segments = []
    else:
        return
    entry.name = said.get(b"GNU.sparse.name") or entry.name
    size = said.get(b"GNU.sparse.realsize") or said.get(b"GNU.sparse.size")
    entry.real_size = parse_decimal(size, "GNU.sparse.realsize") if size else entry.size
    _set_map(entry, segments)


def _map_in_content(entry: Entry, take: Take) -> Segments:
    """Form 1.0: the content begins with the map, decimal numbers on lines of their own, filled up to a whole block."""
    numbers: list[int] = []
    text = b""
    wanted = 1
    while len(numbers) < wanted:
        if entry.size < BLOCK or len(text) > 2 * BLOCK:
            raise Corrupt("sparse file: its map is cut off")
        text += take(BLOCK)
        entry.size -= BLOCK
        *lines, text = text.split(b"\n")
        for line in lines:
            if len(numbers) == wanted:
                break                        # the rest of the block is filling
            numbers.append(parse_decimal(line, "sparse map"))
            if len(numbers) == 1:
                _check_count(numbers[0])
                wanted = 1 + 2 * numbers[0]
    return _pairs(numbers[1:])


def _pairs(numbers: list[int]) -> Segments:
    if len(numbers) % 2:
        raise Corrupt("sparse file: its map has half a segment")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _check_count(count: int) -> None:
    if not 0 <= count <= MOST_SEGMENTS:
        raise Corrupt(f"sparse file: a map of more than {MOST_SEGMENTS} segments")


def _set_map(entry: Entry, segments: Segments) -> None:
    """Take a map over if its segments are in order, do not overlap, and hold exactly the content that follows."""
    _check_count(len(segments))
    end = stored = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise Corrupt("sparse file: its segments are out of order")
        end = offset + length
        stored += length
    if end > entry.real_size or stored != entry.size:
        raise Corrupt("sparse file: its map and its size contradict each other")
    entry.sparse = segments
