"""What came of a layer's parts so far, in a file that a later run goes on with.

    <graphroot>/blobs/sha256/<hex>.parts     again and again: where in the blob, how many bytes, the bytes
    <graphroot>/blobs/sha256/<hex>.lock      held by whoever downloads the blob

Nothing of it is believed: who reads checks each chunk and the table of contents, wherever they come from.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left

from podling import log
from podling.errors import Corrupt, explain
from podling.image.partials import blob_file
from podling.linux import files
from podling.linux.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.image.manifest import Descriptor
    from podling.image.registry.ranges import Ranges
    from podling.linux.locks import Held

_HEAD = struct.Struct("<QI")
_PIECE = 1 << 17


class KeptRanges:
    """A blob's parts, of which those that an earlier run fetched are not fetched again; used as :class:`Ranges` is.

    The file is opened, after waiting for whoever else downloads this blob, with the first part that is asked for. ``reused``: bytes that
    were there. To be closed, which keeps the file, or discarded.
    """

    def __init__(self, graphroot: str, descriptor: Descriptor, ranges: Ranges) -> None:
        self.reused = 0
        self._ranges = ranges
        self._size = descriptor.size
        self._path = blob_file(graphroot, descriptor.digest, "parts")
        self._lock: Held = Lock(blob_file(graphroot, descriptor.digest, "lock")).exclusive()
        self._locked = False
        self._fd = -1
        self._is_full = False
        self._kept: list[tuple[int, int, int]] = []      # (start, end, where in the file), sorted

    @property
    def fetched(self) -> int:
        """Bytes that came from the registry."""
        return self._ranges.fetched

    def announce(self, wanted: list[tuple[int, int]]) -> None:
        """As :meth:`Ranges.announce`."""
        self._ranges.announce([(start, end) for each in wanted for start, end, where in self._pieces(*each) if where < 0])

    def missing(self, wanted: list[tuple[int, int]]) -> int:
        """How many bytes of these ranges have to be fetched."""
        return sum([end - start for each in wanted for start, end, where in self._pieces(*each) if where < 0])

    def read(self, start: int, end: int) -> bytes:
        """As :meth:`Ranges.read`."""
        return b"".join(self.open(start, end))

    def open(self, start: int, end: int) -> Iterator[bytes]:
        """As :meth:`Ranges.open`."""
        self._open()
        for first, last, where in list(self._pieces(start, end)):
            if where >= 0:
                yield from self._stored(where, last - first)
                continue
            at = first
            for data in self._ranges.open(first, last):
                self._keep(at, data)
                at += len(data)
                yield data

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """A range in pieces: (start, end, where in the file), -1 for what is not there."""
        begin = bisect_left(self._kept, (start,))
        for first, last, where in self._kept[max(0, begin - 1):]:
            if first >= end or start >= end:
                break
            if last <= start:
                continue
            if first > start:
                yield start, first, -1
                start = first
            yield start, min(last, end), where + start - first
            start = min(last, end)
        if start < end:
            yield start, end, -1

    # --- the file -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._locked:
            return
        files.make_directories(os.path.dirname(self._path), 0o700)
        self._lock.__enter__()
        self._locked = True
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        at, size = 0, os.fstat(self._fd).st_size
        while at + _HEAD.size <= size:
            start, length = _HEAD.unpack(os.pread(self._fd, _HEAD.size, at))
            if not length or start + length > self._size or at + _HEAD.size + length > size:
                break
            self._kept.append((start, start + length, at + _HEAD.size))
            at += _HEAD.size + length
        os.ftruncate(self._fd, at)           # what a kill or a power cut left in the middle
        self._kept.sort()

    def _stored(self, where: int, size: int) -> Iterator[bytes]:
        self.reused += size
        while size:
            data = os.pread(self._fd, min(_PIECE, size), where)
            if not data:
                raise Corrupt(f"{self._path} ends too early")
            where += len(data)
            size -= len(data)
            yield data

    def _keep(self, at: int, data: bytes) -> None:
        """Write down what came; on a full disk the download goes on without."""
        if self._is_full:
            return
        try:
            files.write_all(self._fd, _HEAD.pack(at, len(data)) + data)
        except OSError as error:
            log.debug(f"nothing more is kept in {self._path}: {explain(error)}")
            self._is_full = True
            if not self._kept:
                os.ftruncate(self._fd, 0)

    def discard(self) -> None:
        """It is not needed any more, or wrong."""
        if self._locked:
            os.unlink(self._path)
        self.close()

    def close(self) -> None:
        """Let others have the blob; what came is kept."""
        self._ranges.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._locked:
            self._lock.remove()
            self._lock.__exit__(None, None, None)
            self._locked = False
