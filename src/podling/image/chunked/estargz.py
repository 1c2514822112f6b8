"""eStargz: gzip with a table of contents (https://github.com/containerd/stargz-snapshotter, docs/estargz.md).

    member(s): headers | member: a chunk of a file, and behind its last one padding and headers | ... | member: stargz.index.json | footer

There is no tar-split, and headers are in the members of what comes before them. So a member can be left out only where it holds a chunk
that is not its file's last; a blob without such chunks in the store is downloaded whole. What it holds is recorded in any case.
"""

from __future__ import annotations

import hashlib

from podling.errors import Corrupt
from podling.image.chunked import toc
from podling.image.chunked.parts import Window, check_chunk, few, local
from podling.image.compression import Decompressed
from podling.store import chunks
from podling.store.archive.headers import BLOCK
from podling.store.archive.numbers import parse_number
from podling.store.archive.paths import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.image.chunked.kept import KeptRanges
    from podling.image.chunked.toc import Files
    from podling.store.layers import Layers

NAME = b"stargz.index.json"
_FOOTER = 51
_OFFSET = slice(16, 32)                      # hexadecimal digits in the footer's extra field
_MARK = slice(32, 38)


class Table:
    """A verified table. ``files``: as of :func:`podling.image.chunked.toc.files`; ``at``: where the table is in the blob."""

    def __init__(self, digest: str, size: int, fetch: Callable[[int, int], bytes], what: str) -> None:
        footer = fetch(max(0, size - _FOOTER), size)
        try:
            self.at = int(footer[_OFFSET], 16)
        except ValueError:
            self.at = -1
        self.end = size - _FOOTER
        if len(footer) != _FOOTER or footer[_MARK] != b"STARGZ" or not 0 < self.at < self.end or self.end - self.at > toc.LIMIT:
            raise Corrupt(f"{what}: it has no footer of eStargz")
        self.tail = _unpacked(fetch(self.at, self.end), what)
        content = _member(self.tail, what)
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if found != digest:
            raise Corrupt(f"the table of contents of {what} does not match its digest: expected {digest[:80]}, got {found}")
        self.files = files(toc.loaded(content, what), self.at, what)


def _unpacked(data: bytes, what: str) -> bytes:
    source, parts, size = iter([data]), [], 0
    stream = Decompressed(lambda _: next(source, b""), "gzip")
    while piece := stream.read(1 << 20):
        parts.append(piece)
        size += len(piece)
        if size > toc.LIMIT:
            raise Corrupt(f"{what}: its table of contents is too long")
    return b"".join(parts)


def _member(tail: bytes, what: str) -> bytes:
    """The content of the one member of a small tar."""
    size = parse_number(tail[124:136]) if len(tail) > BLOCK else -1
    if tail[:100].partition(b"\0")[0] != NAME or not 0 <= size <= len(tail) - BLOCK:
        raise Corrupt(f"{what}: its table of contents is not where its footer says")
    return tail[BLOCK:BLOCK + size]


def files(table: dict[str, Any], end: int, what: str) -> Files:
    """The files of a table; their chunks end where the next begins, in the blob as a whole."""
    entries = table.get("entries")
    if table.get("version") != 1 or not isinstance(entries, list):
        raise Corrupt(f"the table of contents of {what} has an unknown form")
    listed = [dict(entry) for entry in entries if isinstance(entry, dict) and entry.get("type") in ("reg", "chunk")]
    if any(entry.get("innerOffset") for entry in listed):
        raise Corrupt(f"the table of contents of {what} has several chunks in a member, which is not supported")
    starts = sorted({toc.number_of(entry, "offset") for entry in listed} - {0})
    after = dict(zip(starts, [*starts[1:], end], strict=False))
    size, last = 0, {}
    for entry, following in zip(listed, [*listed[1:], {}], strict=False):
        if entry["type"] == "reg":
            size, entry["endOffset"] = toc.number_of(entry, "size"), after.get(toc.number_of(entry, "offset"), 0)
            last = entry
            if following.get("type") != "chunk":
                entry.pop("chunkDigest", None)
        else:
            last["endOffset"] = after.get(toc.number_of(entry, "offset"), 0)
        if entry["type"] == "chunk" or following.get("type") == "chunk":
            entry["chunkSize"] = toc.number_of(entry, "chunkSize") or size - toc.number_of(entry, "chunkOffset")
    return toc.files({"version": 1, "entries": listed}, what)


class Plan:
    """What is to be fetched for a layer: ``ranges``."""

    def __init__(self, table: Table, layers: Layers) -> None:
        self.table = table
        places = sorted([(chunk, name, chunk is not listed[-1]) for name, listed in table.files.items() for chunk in listed])
        wanted = {chunk[4]: (clean(name.encode()), chunk[2], chunk[3]) for chunk, name, may_go in places if may_go}
        held = chunks.find(layers, wanted)
        self.segments = [(chunk, held.get(chunk[4]) if may_go else None) for chunk, _, may_go in places]
        first = places[0][0][0] if places else table.at
        self.first = first
        missing = [(0, first)] if first else []
        missing += [(chunk[0], chunk[1]) for chunk, found in self.segments if found is None]
        self.ranges = few(missing)


def tar(plan: Plan, ranges: KeptRanges, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The layer's tar; Corrupt where a chunk has not its digest."""
    window = Window(ranges, plan.ranges)
    if plan.first:
        yield from _segment(window, 0, plan.first)
    for (start, end, _, size, digest), held in plan.segments:
        sha, left = hashlib.sha256(), size
        for piece in _segment(window, start, end) if held is None or window.covers(start) else local(held, digest):
            sha.update(piece[:left])
            left -= min(left, len(piece))
            yield piece
        check_chunk(sha.hexdigest(), digest)
        progress(end)
    yield plan.table.tail


def _segment(window: Window, start: int, end: int) -> Iterator[bytes]:
    compressed = window.take(start, end)
    stream = Decompressed(lambda _: next(compressed, b""), "gzip")
    while piece := stream.read(1 << 18):
        yield piece
