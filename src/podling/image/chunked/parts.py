"""A layer's tar put together from what the store holds, what is fetched, and the tar-split between.

Every content is checked against the digest that the table of contents gives it; whether the whole is the layer, the store finds out by
the digest of the tar, as for any other.
"""

from __future__ import annotations

import hashlib

from podling.errors import Corrupt
from podling.image.chunked import toc
from podling.image.compression import Decompressed
from podling.store import chunks
from podling.store.archive.paths import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.image.chunked.kept import KeptRanges
    from podling.image.chunked.toc import Chunk, Files
    from podling.store.chunks import Held
    from podling.store.layers import Layers

GAP = 4096                                   # bytes between two parts that are rather fetched than asked around
MOST_RANGES = 256
_GATHER = 1 << 19
_ZEROS = bytes(1 << 16)


class Plan:
    """What of a blob is to be fetched: ``ranges`` in order, (start, end)."""

    def __init__(self, files: Files, layers: Layers) -> None:
        self.files = files
        every = [(name, chunk) for name, listed in files.items() for chunk in listed if chunk[4] != toc.ZEROS]
        wanted = {chunk[4]: (clean(name.encode()), chunk[2], chunk[3]) for name, chunk in every}
        self.held: dict[str, Held] = chunks.find(layers, wanted)
        missing = sorted({(chunk[0], chunk[1]) for _, chunk in every if chunk[4] not in self.held})
        self.ranges = few(missing)


def few(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts as ranges that are worth a request each, and no more than MOST_RANGES of them."""
    gap = GAP
    while len(ranges := merged(parts, gap)) > MOST_RANGES:
        gap *= 2
    return ranges


def merged(parts: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Sorted (start, end) with those in one whose distance is at most ``gap``."""
    found: list[tuple[int, int]] = []
    for start, end in parts:
        if found and start - found[-1][1] <= gap:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def local(held: Held, digest: str) -> Iterator[bytes]:
    """A chunk that the store holds."""
    try:
        yield from chunks.read(held)
    except OSError as error:
        raise Corrupt(f"the chunk {digest} is not there any more") from error


def check_chunk(found: str, digest: str) -> None:
    """Corrupt unless a chunk with the SHA-256 ``found`` has the digest that the table of contents says."""
    if f"sha256:{found}" != digest:
        raise Corrupt(f"a chunk does not match its digest: expected {digest}, got sha256:{found}")


class Window:
    """The ranges of a blob, in order, each fetched when something of it is taken."""

    def __init__(self, ranges: KeptRanges, wanted: list[tuple[int, int]]) -> None:
        self._ranges = ranges
        self._waiting = list(reversed(wanted))
        ranges.announce(wanted)
        self._now = (0, 0)                   # what is left of the one that is being fetched
        self._coming: Iterator[bytes] = iter(())
        self._rest = b""                     # came and was not taken

    def covers(self, start: int) -> bool:
        """Whether the byte at ``start`` is in the range that is being fetched, or in a later one, which then is."""
        while self._waiting and start >= self._waiting[-1][0]:
            self._now = self._waiting.pop()
            self._coming = self._ranges.open(*self._now)
            self._rest = b""
        return self._now[0] <= start < self._now[1]

    def take(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``end``; what lies before them is lost. To be read to its end. Corrupt where they are behind."""
        if not self.covers(start) or end > self._now[1]:
            raise Corrupt("the table of contents is not in the order of its blob")
        for _ in self._pieces(start - self._now[0]):
            continue
        self._now = (end, self._now[1])
        yield from self._pieces(end - start)
        if end == self._now[1]:
            for _ in self._coming:           # nothing, but its connection is free then
                continue

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._rest or next(self._coming, b"")
            if not data:
                raise Corrupt("a range ended too early")
            self._rest = data[size:]
            yield data[:size]
            size -= min(size, len(data))


class Parts:
    """The tar of one layer, read once."""

    def __init__(self, plan: Plan, split: bytes, ranges: KeptRanges) -> None:
        self.plan = plan
        self._position = 0                   # how far in the blob it has come
        self._split = split
        self._window = Window(ranges, plan.ranges)

    def tar(self, progress: Callable[[int], None]) -> Iterator[bytes]:
        """The tar in pieces of half a megabyte and more; Corrupt where a content has not its digest, RegistryError."""
        parts, size = [], 0
        for piece in self._pieces():
            parts.append(piece)
            size += len(piece)
            if size >= _GATHER:
                progress(self._position)
                yield b"".join(parts)
                parts.clear()
                size = 0
        yield b"".join(parts)

    def _pieces(self) -> Iterator[bytes]:
        for member in toc.split_members(self._split):
            if isinstance(member, bytes):
                yield member
                continue
            name, size = member
            listed = self.plan.files.get(name, [])
            if sum([chunk[3] for chunk in listed]) != size:
                raise Corrupt(f"{name[:200]!r} has another size in the table of contents than in the tar-split")
            for chunk in listed:
                yield from self._chunk(chunk)
                self._position = max(self._position, chunk[1])

    def _chunk(self, chunk: Chunk) -> Iterator[bytes]:
        start, end, _, size, digest = chunk
        if digest == toc.ZEROS:
            for at in range(0, size, len(_ZEROS)):
                yield _ZEROS[:size - at]
            return
        if self._window.covers(start):
            source = self._decompressed(start, end, size)
        else:
            source = self._local(digest)
        sha = hashlib.sha256()
        for piece in source:
            sha.update(piece)
            yield piece
        check_chunk(sha.hexdigest(), digest)

    def _local(self, digest: str) -> Iterator[bytes]:
        held = self.plan.held.get(digest)
        if held is None:
            raise Corrupt("the table of contents is not in the order of its blob")
        return local(held, digest)

    def _decompressed(self, start: int, end: int, size: int) -> Iterator[bytes]:
        """The content of a chunk out of the window."""
        compressed = self._window.take(start, end)
        stream = Decompressed(lambda _: next(compressed, b""), "zstd")
        left = size
        while piece := stream.read(left + 1):
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise Corrupt("a chunk has another size than the table of contents says")
        for _ in compressed:                 # nothing, unless the frame ended early
            continue
