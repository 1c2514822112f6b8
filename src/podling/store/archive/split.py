"""The file ``tar-split`` of a layer: all of its tar that is not content of files.

    "podling tar-split 1" newline
    frames:     bytes of skeleton before and after compression (two 32-bit numbers), raw deflate; 0 0 ends them
    checksums:  a CRC-32 (32 bits) for each member that has content, in order
    index:      raw deflate of JSON, see :class:`Index`
    trailer:    offset of the checksums, their number, size of the index before and after compression (64 bits each), end mark

All numbers are little endian. The skeleton, read as a tar without contents, tells where which file's content belongs.
"""

from __future__ import annotations

import os
import struct

from podling import jsontext
from podling.errors import Corrupt
from podling.linux.files import write_all
from podling.record import Record
from podling.store.archive.compression import deflate, inflate

DIFF, SPLIT, REPLACED = "diff", "tar-split", "replaced"      # what is in a layer's directory
MAGIC = b"podling tar-split 1\n"
END = b"tarsplit"
_FRAME = struct.Struct("<II")
_TRAILER = struct.Struct("<QQQQ8s")
_FRAME_SIZE = 1 << 18
_LARGEST_FRAME = 1 << 26
_LARGEST_INDEX = 1 << 30


class Index(Record):
    """What packing must know beforehand.

    ``replaced``: (number of the entry that took its place, path, name in the directory ``replaced``) for each file or
    directory that a later entry of the same tar replaced. ``resolved``: (number of the entry, path) for members whose own
    path leads through a symbolic link of the same tar. ``kept``: (number of the entry, name in ``replaced``) for content
    that no file shows, such as that of a whiteout. Paths are strings with surrogates for what is not UTF-8.
    """

    diff_id: str
    tar_size: int
    entries: int
    replaced: tuple[tuple[int, str, str], ...] = ()
    resolved: tuple[tuple[int, str], ...] = ()
    kept: tuple[tuple[int, str], ...] = ()


class SplitWriter:
    """Writes a ``tar-split`` while its tar is read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: list[bytes] = [MAGIC]
        self._frame: list[bytes] = []
        self._size = 0
        self._written = 0
        self._checksums = bytearray()

    def record(self, piece: bytes) -> None:
        """Add some bytes of the skeleton."""
        self._frame.append(piece)
        self._size += len(piece)
        if self._size >= _FRAME_SIZE:
            self._end_frame()

    def checksum(self, value: int) -> None:
        """Add the CRC-32 of the next content."""
        self._checksums += value.to_bytes(4, "little")

    def _end_frame(self) -> None:
        skeleton = b"".join(self._frame)
        for start in range(0, len(skeleton), _LARGEST_FRAME):
            piece = skeleton[start:start + _LARGEST_FRAME]
            compressed = deflate(piece)
            self._parts += [_FRAME.pack(len(piece), len(compressed)), compressed]
        self._frame.clear()
        self._size = 0
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        write_all(self._fd, data)
        self._written += len(data)
        self._parts.clear()

    def finish(self, index: Index) -> None:
        """Write what is left; the descriptor stays open."""
        self._end_frame()
        self._parts.append(_FRAME.pack(0, 0))
        self._flush()
        at = self._written
        text = jsontext.dumps(index.to_json()).encode("utf-8", "surrogateescape")
        compressed = deflate(text)
        self._parts += [bytes(self._checksums), compressed,
                        _TRAILER.pack(at, len(self._checksums) // 4, len(text), len(compressed), END)]
        self._flush()


class SplitReader:
    """Reads a ``tar-split``; Corrupt, naming ``path``, where it is damaged."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._at = len(MAGIC)
        size = os.fstat(fd).st_size
        if os.pread(fd, len(MAGIC), 0) != MAGIC or size < len(MAGIC) + _FRAME.size + _TRAILER.size:
            raise self._damaged("its beginning is missing")
        end = size - _TRAILER.size
        at, count, index_size, compressed_size, mark = _TRAILER.unpack(os.pread(fd, _TRAILER.size, end))
        if mark != END or at + 4 * count + compressed_size != end or index_size > _LARGEST_INDEX:
            raise self._damaged("its end is missing")
        self._end = at
        self.contents = count
        self._checksums = self._exactly(4 * count, at)
        text = inflate(self._exactly(compressed_size, end - compressed_size), index_size)
        try:
            self.index = _checked(Index.from_json(jsontext.loads(text.decode("utf-8", "surrogateescape"))))
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, why: str) -> Corrupt:
        return Corrupt(f"{self._path}: damaged: {why}")

    def _exactly(self, size: int, at: int) -> bytes:
        data = os.pread(self._fd, size, at)
        if len(data) != size:
            raise self._damaged("it is too short")
        return data

    def checksum(self, number: int) -> int:
        """The CRC-32 of one of the ``contents``."""
        return int.from_bytes(self._checksums[4 * number:4 * number + 4], "little")

    def read(self, _size: int = 0) -> bytes:
        """The next part of the skeleton, whatever size it has; b"" at the end."""
        if self._at >= self._end:
            raise self._damaged("it does not end")
        size, compressed = _FRAME.unpack(self._exactly(_FRAME.size, self._at))
        if not size:
            return b""
        if size > _LARGEST_FRAME or self._at + _FRAME.size + compressed > self._end:
            raise self._damaged("a frame is too large")
        data = self._exactly(compressed, self._at + _FRAME.size)
        self._at += _FRAME.size + compressed
        try:
            return inflate(data, size)
        except Corrupt as error:
            raise self._damaged(error.message) from None


def _checked(index: Index) -> Index:
    """The index, if everything in it has its type; ValueError otherwise."""
    rows = [*((row, (int, str, str)) for row in index.replaced), *((row, (int, str)) for row in (*index.resolved, *index.kept))]
    if not all(len(row) == len(types) and all(map(isinstance, row, types)) for row, types in rows):
        raise ValueError("its index has a row of another shape")
    if type(index.diff_id) is not str or type(index.tar_size) is not int:
        raise ValueError("its index has fields of other types")
    return index
