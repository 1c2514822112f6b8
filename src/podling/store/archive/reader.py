"""A tar as a stream of entries; whatever is not content of a file is recorded as it passes.

What is recorded, the skeleton (headers, extended headers, padding, the end), is all that is needed besides the files to write
the very same archive again: reading the skeleton as an archive without contents gives the same entries in the same order.
"""

from __future__ import annotations

from podling.errors import Corrupt
from podling.store.archive import headers, sparse
from podling.store.archive.headers import BLOCK, ZERO_BLOCK, Entry, HeaderParser, apply_pax, parse_pax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 20
LONGEST_EXTENSION = 1 << 20                  # bytes of one extended header, as in Go
# What a global header says is left out, as by Docker and Podman: git archive puts a comment there. A label names a GNU archive.
_IGNORED = (headers.PAX_GLOBAL, headers.LABEL)
_EXTENSIONS = (headers.PAX, headers.GNU_NAME, headers.GNU_LINK, *_IGNORED)


class Stream:
    """Bytes that come in chunks, with a position; content is handed out, all else goes to ``record``."""

    def __init__(self, read: Callable[[int], bytes], record: Callable[[bytes], object], *, limit: int | None = None) -> None:
        """``limit``: more bytes than that are Corrupt."""
        self._read = read
        self._record = record
        self._limit = limit
        self.chunk = b""
        self.view = memoryview(b"")
        self.length = 0                      # of the chunk
        self.at = 0                          # position in the chunk
        self._mark = 0                       # from here to the position is to be recorded
        self.before = 0                      # bytes in the chunks before this one
        self.reading = False                 # an error comes from ``read``

    @property
    def offset(self) -> int:
        """The position in the archive."""
        return self.before + self.at

    def _next_chunk(self) -> bool:
        if self._mark < self.length:
            self._record(self.chunk[self._mark:] if self._mark else self.chunk)
        self.before += self.length
        self.reading = True
        self.chunk = self._read(CHUNK)
        self.reading = False
        self.view = memoryview(self.chunk)
        self.length = len(self.chunk)
        self.at = self._mark = 0
        if self._limit is not None and self.before + self.length > self._limit:
            raise Corrupt(f"archive: longer than the {self._limit} bytes that are allowed")
        return self.length > 0

    def take(self, size: int) -> bytes:
        """The next bytes, which are no content; Corrupt where the archive ends before."""
        at = self.at
        end = at + size
        if end <= self.length:
            self.at = end
            return self.chunk[at:end]
        return self._take_across(size)

    def _take_across(self, size: int) -> bytes:
        parts = [self.chunk[self.at:]]
        missing = size - len(parts[0])
        self.at = self.length
        while missing:
            if not self._next_chunk():
                raise self.truncated()
            self.at = min(missing, self.length)
            parts.append(self.chunk[:self.at])
            missing -= self.at
        return b"".join(parts)

    def block(self) -> bytes:
        """The next header block, b"" where the archive ends right here."""
        if self.at == self.length and not self._next_chunk():
            return b""
        return self.take(BLOCK)

    def content(self, size: int) -> Iterator[memoryview]:
        """The next bytes as content, in pieces; they must be used before the next piece is asked for."""
        self.flush()
        while size:
            if self.at == self.length and not self._next_chunk():
                raise self.truncated()
            at = self.at
            self.at = self._mark = min(at + size, self.length)
            size -= self.at - at
            yield self.view[at:self.at]

    def flush(self) -> None:
        """Record all up to the position."""
        if self._mark < self.at:
            self._record(self.chunk[self._mark:self.at])
            self._mark = self.at

    def small_content(self, size: int) -> memoryview | None:
        """The next bytes as content in one piece, None where they are not all in the chunk: then see :meth:`content`."""
        at = self.at
        end = at + size
        if end > self.length:
            return None
        self._record(self.chunk[self._mark:at])
        self.at = self._mark = end
        return self.view[at:end]

    def drain(self) -> None:
        """Record the rest: what follows the archive's end."""
        self.at = self.length
        while self._next_chunk():
            self.at = self.length

    def truncated(self) -> Corrupt:
        """The error for an end in the middle."""
        return Corrupt(f"archive: cut off after {self.offset} bytes")


class Reader:
    """The entries of a tar. After an entry with a size its content is to be taken from the stream, before the next one."""

    def __init__(self, stream: Stream, *, limit: int | None = None) -> None:
        """``limit``: more entries than that are Corrupt."""
        self._stream = stream
        self._limit = limit
        self._headers = HeaderParser()
        self._padding = 0
        self.count = 0

    def next(self) -> Entry | None:
        """The next entry, None at the end; then the rest of the stream has been recorded as well."""
        stream = self._stream
        if self._padding:
            stream.take(self._padding)
            self._padding = 0
        while True:
            block = stream.block()
            if block == ZERO_BLOCK or not block:
                self._finish(block)
                return None
            entry = self._headers.parse(block, stream.offset - BLOCK)
            if entry.kind <= headers.FIFO:
                break
            if entry.kind not in _IGNORED:
                entry = self._extended(entry, block)
                break
            self._body(entry)
        if entry.kind != headers.FILE:
            entry.size = entry.real_size = 0  # what a header says of links and directories is no content, as in Go
        elif entry.size < 0 or entry.real_size < entry.size:
            raise Corrupt(f"archive: {entry.name!r} has a size of {entry.size} bytes")
        self._padding = -entry.size % BLOCK
        entry.index = self.count
        self.count += 1
        if self._limit is not None and self.count > self._limit:
            raise Corrupt(f"archive: more than the {self._limit} entries that are allowed")
        return entry

    def _finish(self, block: bytes) -> None:
        """Two blocks of zeros end an archive; like Go we accept one, or none, where the stream ends there."""
        stream = self._stream
        if block:
            second = stream.block()
            if second and second != ZERO_BLOCK:
                raise Corrupt(f"tar header at byte {stream.offset - BLOCK}: data after a single block of zeros")
        stream.drain()

    def _extended(self, entry: Entry, block: bytes) -> Entry:
        """The entry that follows extended headers, changed by them; or one of a type that needs more than its block."""
        stream = self._stream
        records: list[tuple[bytes, bytes]] = []
        name = link = b""
        while entry.kind in _EXTENSIONS:
            body = self._body(entry)
            if entry.kind == headers.PAX:
                records = parse_pax(body)
            elif entry.kind == headers.GNU_NAME:
                name = body.partition(b"\0")[0]
            elif entry.kind == headers.GNU_LINK:
                link = body.partition(b"\0")[0]
            block = stream.block()
            if not block or block == ZERO_BLOCK:
                raise Corrupt(f"tar header at byte {stream.offset}: an extended header without a member")
            entry = self._headers.parse(block, stream.offset - BLOCK)
        apply_pax(entry, records)
        entry.name = name or entry.name
        if link:
            entry.link = link
        if block[156] == 0:                  # the old Unix format has no type for directories
            entry.kind = headers.DIRECTORY if entry.name[-1:] == b"/" else headers.FILE
        if entry.kind == headers.GNU_SPARSE:
            entry.kind = headers.FILE
            sparse.read_gnu(entry, block, stream.take)
        elif entry.kind == headers.FILE:
            sparse.read_pax(entry, records, stream.take)
        return entry

    def _body(self, entry: Entry) -> bytes:
        if not 0 <= entry.size <= LONGEST_EXTENSION:
            raise Corrupt(f"tar header at byte {self._stream.offset - BLOCK}: an extended header of {entry.size} bytes")
        return self._stream.take(entry.size + -entry.size % BLOCK)[:entry.size]
