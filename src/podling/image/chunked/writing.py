"""A tar as a zstd:chunked blob: each file, and each quarter megabyte of a large one, is a zstd frame of its own.

    frames of headers and files | skippable: table of contents | skippable: tar-split | skippable: footer

Any zstd decoder gives the tar. The table says where which file is and what its digest is; the tar-split is all of the tar that is
not content of files. The format is that of containers/storage (pkg/chunked), which reads the tables strictly: what it could not
represent (a name twice, sparse files, names that are not UTF-8) is written as ordinary zstd without a table.
"""

from __future__ import annotations

import base64
import hashlib
import time

from podling import jsontext, log
from podling.image import compression
from podling.image.chunked import toc
from podling.image.chunked.crc64 import crc64
from podling.store.archive import headers
from podling.store.archive.headers import BLOCK, Entry, device_number, parse_pax
from podling.store.archive.numbers import SECOND, parse_number, parse_pax_time
from podling.store.archive.reader import Reader, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CHUNK = 1 << 18                              # bytes of content that share a frame
_GATHER = 1 << 18                            # bytes of output that are handed on at once
_LONGEST_HEAD = 1 << 20                      # bytes of headers without content in one frame
_KINDS = {headers.FILE: "reg", headers.LINK: "hardlink", headers.SYMLINK: "symlink", headers.CHAR: "char",
          headers.BLOCK_DEVICE: "block", headers.DIRECTORY: "dir", headers.FIFO: "fifo"}
_MORE_TIMES = ((b"atime", "accesstime"), (b"ctime", "changetime"))


class Chunked:
    """One tar being written. Iterate over it once for the blob; then ``annotations`` are what its descriptor says of it."""

    def __init__(self, tar: Iterator[bytes], level: int | None = None) -> None:
        self.annotations: dict[str, str] = {}
        self._compress = compression.frame_maker(level)
        self._raw: list[bytes] = []           # headers and padding since the last content
        self._stream = Stream(lambda _: next(tar, b""), self._raw.append)
        self._table = _Part(level, '{"version":1,"entries":[')
        self._split = _Part(level)
        self._names: set[bytes] = set()
        self._refused = ""                    # why there is no table
        self._offset = 0                      # bytes of the blob so far
        self._output: list[bytes] = []
        self._waiting = 0                     # bytes of them not handed on
        self._head: list[bytes] = []          # not yet compressed
        self._head_size = 0

    def __iter__(self) -> Iterator[bytes]:
        reader, padding = Reader(self._stream), 0
        while (entry := reader.next()) is not None:
            self._stream.flush()
            raw = self._take_raw()
            described = self._describe(entry, raw[padding:])
            padding = -entry.size % BLOCK
            if entry.size:
                self._end_head()
                yield from self._content(entry, described)
            elif not self._refused:
                self._add_file(entry, 0, [described])
            if self._waiting >= _GATHER:
                yield self._take()
        self._take_raw()
        self._end_head()
        if self._refused:
            log.debug(f"a layer is written without a table of contents: {self._refused}")
        else:
            self._finish()
        yield self._take()

    def _take(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        self._waiting = 0
        return data

    def _write(self, data: bytes) -> None:
        self._output.append(data)
        self._offset += len(data)
        self._waiting += len(data)

    def _frame(self, data: bytes) -> None:
        self._write(self._compress(data))

    def _take_raw(self) -> bytes:
        """What is no content and came since the last entry: padding, headers. It belongs to the next frame and the tar-split."""
        raw = b"".join(self._raw)
        self._raw.clear()
        if raw:
            self._head.append(raw)
            self._head_size += len(raw)
            if not self._refused:
                self._split.add(f'{{"type":2,"payload":"{base64.b64encode(raw).decode()}","position":{self._split.count}}}\n')
        if self._head_size >= _LONGEST_HEAD:
            self._end_head()
        return raw

    def _end_head(self) -> None:
        if self._head:
            self._frame(b"".join(self._head))
            self._head.clear()
            self._head_size = 0

    # --- content ------------------------------------------------------------------------------------------------------

    def _content(self, entry: Entry, described: dict[str, Any]) -> Iterator[bytes]:
        """The frames of one file, each described in the table."""
        whole, checksum, position, chunks = hashlib.sha256(), 0, 0, []
        for data in self._chunks(entry.size):
            whole.update(data)
            checksum = crc64(data, checksum)
            chunks.append((self._offset, position, len(data), hashlib.sha256(data).hexdigest() if entry.size > CHUNK else ""))
            self._frame(data)
            position += len(data)
            if self._waiting >= _GATHER:
                yield self._take()
        if self._refused:
            return
        described.update(digest=f"sha256:{whole.hexdigest()}", offset=chunks[0][0], endOffset=self._offset)
        entries = [described]
        for number, (offset, start, size, digest) in enumerate(chunks if len(chunks) > 1 else ()):
            if number:
                entries.append({"type": "chunk", "name": described["name"], "offset": offset, "chunkOffset": start, "chunkSize": size,
                                "chunkDigest": f"sha256:{digest}"})
            else:
                described.update(chunkSize=size, chunkDigest=f"sha256:{digest}")
        self._add_file(entry, checksum, entries)

    def _chunks(self, size: int) -> Iterator[bytes]:
        if size <= CHUNK and (piece := self._stream.small_content(size)) is not None:
            yield bytes(piece)
            return
        gathered = bytearray()
        for piece in self._stream.content(size):
            gathered += piece
            while len(gathered) >= CHUNK:
                yield bytes(gathered[:CHUNK])
                del gathered[:CHUNK]
        if gathered:
            yield bytes(gathered)

    def _add_file(self, entry: Entry, checksum: int, entries: list[dict[str, Any]]) -> None:
        payload = "null" if not entry.size else f'"{base64.b64encode(checksum.to_bytes(8, "big")).decode()}"'
        size = f'"size":{entry.size},' if entry.size else ""
        name = jsontext.dumps(entry.name.decode())
        self._split.add(f'{{"type":1,"name":{name},{size}"payload":{payload},"position":{self._split.count}}}\n')
        for described in entries:
            self._table.add(("," if self._table.count else "") + jsontext.dumps(described))

    # --- the table ----------------------------------------------------------------------------------------------------

    def _describe(self, entry: Entry, raw: bytes) -> dict[str, Any]:
        """The entry's line of the table, to which its content adds where it is; it must say what Go's archive/tar reads."""
        if self._refused:
            return {}
        described: dict[str, Any] = {"type": _KINDS[entry.kind], "name": ""}
        try:
            described["name"] = entry.name.decode()
            if entry.kind in (headers.LINK, headers.SYMLINK) and entry.link:
                described["linkName"] = entry.link.decode()
            self._fill(described, entry, raw)
        except UnicodeDecodeError:
            self._refused = "a name is not UTF-8"
        if entry.name in self._names:
            self._refused = "a name comes twice"
        elif entry.sparse is not None:
            self._refused = "a file is sparse"
        self._names.add(entry.name)
        if self._refused:
            self._names.clear()
        return described

    def _fill(self, described: dict[str, Any], entry: Entry, raw: bytes) -> None:
        block, records = raw[-BLOCK:], self._pax_records(raw)
        values: dict[str, Any] = {"mode": parse_number(block[100:108]), "size": entry.size, "uid": entry.uid, "gid": entry.gid}
        if entry.kind in (headers.CHAR, headers.BLOCK_DEVICE):
            values["devMajor"], values["devMinor"] = device_number(entry)
        times = [("modtime", entry.mtime)]
        times += [(name, parse_pax_time(records[key])) for key, name in _MORE_TIMES if records.get(key)]
        for name, nanoseconds in times:
            values[name] = _rfc3339(nanoseconds)
        if entry.xattrs:
            values["xattrs"] = {key.decode(): base64.b64encode(value).decode() for key, value in entry.xattrs.items()}
        described.update((name, value) for name, value in values.items() if value)
        if entry.kind != headers.FILE and parse_number(block[124:136]):
            self._refused = "a member without content has a size"
        elif block[257:265] == b"ustar  \0" and (block[345] or block[357]):
            self._refused = "GNU's times of access and change are in it"
        elif block[156:157] == b"7":
            self._refused = "a file is of the type 'contiguous'"

    def _pax_records(self, raw: bytes) -> dict[bytes, bytes]:
        """What the extended headers before an entry's own say."""
        at, records = 0, {}
        while at < len(raw) - BLOCK:
            size, kind = parse_number(raw[at + 124:at + 136]), raw[at + 156:at + 157]
            if kind == b"x":
                records = dict(parse_pax(raw[at + BLOCK:at + BLOCK + size]))
            elif kind not in (b"L", b"K"):
                self._refused = "global headers are in it"
            at += BLOCK + size + -size % BLOCK
        return records

    def _finish(self) -> None:
        """The two parts and the footer, in frames that decoders skip; and what the descriptor says of them."""
        packed_split = self._split.finish()
        self._table.add(f'],"tarSplitDigest":"sha256:{hashlib.sha256(packed_split).hexdigest()}"}}')
        packed = self._table.finish()
        at = self._offset + toc.SKIPPABLE.size
        self._skippable(packed)
        split_at = self._offset + toc.SKIPPABLE.size
        self._skippable(packed_split)
        self._skippable(toc.FOOTER.pack(at, len(packed), self._table.size, toc.KIND, split_at, len(packed_split), self._split.size,
                                        toc.MAGIC))
        self.annotations = {
            toc.CHECKSUM: f"sha256:{hashlib.sha256(packed).hexdigest()}",
            toc.POSITION: f"{at}:{len(packed)}:{self._table.size}:{toc.KIND}",
            toc.SPLIT_POSITION: f"{split_at}:{len(packed_split)}:{self._split.size}",
            toc.SPLIT_CHECKSUM: f"sha256:{hashlib.sha256(packed_split).hexdigest()}",    # Podman 4 looks for it here
        }

    def _skippable(self, content: bytes) -> None:
        self._write(toc.SKIPPABLE.pack(toc.SKIPPABLE_MAGIC, len(content)) + content)


class _Part:
    """A text being compressed while it is made. ``count``: of its pieces; ``size``: bytes before compression."""

    def __init__(self, level: int | None, begin: str = "") -> None:
        self.count = 0
        self.size = len(begin)
        self._encoder = compression.compressor("zstd", level)
        self._waiting: list[bytes] = [begin.encode()]
        self._waiting_size = 0
        self._packed: list[bytes] = []

    def add(self, text: str) -> None:
        """The next piece."""
        data = text.encode()
        self.count += 1
        self._waiting.append(data)
        self._waiting_size += len(data)
        self.size += len(data)
        if self._waiting_size >= _GATHER:
            self._compress()

    def _compress(self) -> None:
        self._packed.append(self._encoder.compress(b"".join(self._waiting)))
        self._waiting.clear()
        self._waiting_size = 0

    def finish(self) -> bytes:
        """The whole, compressed."""
        self._compress()
        return b"".join([*self._packed, self._encoder.flush()])


def _rfc3339(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"
