"""The table of contents of a zstd:chunked blob and its tar-split: where they are, and what they say. Nothing of them is trusted.

The digest of the table is in the manifest (an annotation of the layer), that of the tar-split in the table.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import struct

from podling import jsontext
from podling.errors import Corrupt
from podling.image.compression import Decompressed
from podling.image.jsonfields import LARGEST_SIZE, load_object
from podling.image.manifest import ZSTD_TABLE
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Chunk = tuple[int, int, int, int, str]
    Files = dict[str, list[Chunk]]

_PREFIX = "io.github.containers.zstd-chunked."
CHECKSUM = ZSTD_TABLE                        # "sha256:..." of the table as it is in the blob
POSITION = _PREFIX + "manifest-position"     # offset:size:size before compression:kind
SPLIT_POSITION = _PREFIX + "tarsplit-position"
SPLIT_CHECKSUM = _PREFIX + "tarsplit-checksum"   # in older blobs; now in the table
ANNOTATIONS = (CHECKSUM, POSITION, SPLIT_POSITION, SPLIT_CHECKSUM)
KIND = 1
SKIPPABLE = struct.Struct("<II")             # magic, size
SKIPPABLE_MAGIC = 0x184D2A50
FOOTER = struct.Struct("<7Q8s")
MAGIC = b"GNUlInUx"
LIMIT = 64 << 20                             # bytes of a table: 200,000 files
SPLIT_LIMIT = 256 << 20
_MOST_OBJECTS = 600_000                      # in a table, each of which takes memory
ZEROS = "zeros"                              # instead of a digest: the chunk is all zero, and nothing of it need be fetched


class Positions(Record):
    """Where the two parts are in a blob (bytes), how long they are there and uncompressed, and their digests ("": unknown)."""

    at: int
    size: int
    plain: int
    digest: str
    split_at: int
    split_size: int
    split_plain: int
    split_digest: str = ""


def positions(annotations: dict[str, str], blob_size: int) -> Positions | None:
    """What a layer's annotations say, None where they name no table or no tar-split within the blob."""
    try:
        at, size, plain, kind = [int(part) for part in annotations[POSITION].split(":")]
        split_at, split_size, split_plain = [int(part) for part in annotations[SPLIT_POSITION].split(":")]
        digest = annotations[CHECKSUM]
    except (KeyError, ValueError):
        return None
    numbers = (at, size, plain, split_at, split_size, split_plain)
    if kind != KIND or min(numbers) < 0 or max(at + size, split_at + split_size) > blob_size:
        return None
    if max(size, plain) > LIMIT or max(split_size, split_plain) > SPLIT_LIMIT:
        return None                          # it is downloaded whole
    return Positions(at=at, size=size, plain=plain, digest=digest, split_at=split_at, split_size=split_size, split_plain=split_plain,
                     split_digest=annotations.get(SPLIT_CHECKSUM, ""))


def read(where: Positions, fetch: Callable[[int, int], bytes], what: str) -> tuple[Files, bytes]:
    """(the files of the table, the tar-split), verified; ``fetch(start, end)`` gives bytes of the blob. Corrupt."""
    first, last = min(where.at, where.split_at), max(where.at + where.size, where.split_at + where.split_size)
    if last - first > where.size + where.split_size + (1 << 16):
        raise Corrupt(f"{what}: its two parts are far from each other")
    data = fetch(first, last)
    packed = data[where.at - first:where.at - first + where.size]
    _verify(packed, where.digest, f"the table of contents of {what}")
    table = loaded(_decompressed(packed, where.plain, what), what)
    packed = data[where.split_at - first:where.split_at - first + where.split_size]
    _verify(packed, table.get("tarSplitDigest") or where.split_digest, f"the tar-split of {what}")
    return files(table, what), _decompressed(packed, where.split_plain, what)


def loaded(content: bytes, what: str) -> dict[str, Any]:
    """A table's JSON; Corrupt where it is none, or one that would take too much memory."""
    if content.count(b"{") + content.count(b"[") > _MOST_OBJECTS:
        raise Corrupt(f"the table of contents of {what} has more than {_MOST_OBJECTS} entries")
    return load_object(content, f"the table of contents of {what}", limit=LIMIT)


def _verify(packed: bytes, digest: object, what: str) -> None:
    found = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    if digest != found:
        raise Corrupt(f"{what} does not match its digest: expected {str(digest)[:80] or 'one'}, got {found}")


def _decompressed(packed: bytes, plain: int, what: str) -> bytes:
    source, parts, size = iter([packed]), [], 0
    stream = Decompressed(lambda _: next(source, b""), "zstd")
    while size <= plain and (piece := stream.read(plain + 1 - size)):
        parts.append(piece)
        size += len(piece)
    if size != plain:
        raise Corrupt(f"{what}: its table of contents is not as long as the manifest says")
    return b"".join(parts)


def files(table: dict[str, Any], what: str) -> Files:
    """name -> its chunks, (start and end in the blob, position in the file, size, digest or ZEROS), for all files with content."""
    entries, found, last = table.get("entries"), {}, ""
    if table.get("version") != 1 or not isinstance(entries, list):
        raise Corrupt(f"the table of contents of {what} has an unknown form")
    ends: dict[str, int] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise Corrupt(f"the table of contents of {what} has an entry that is none")
        kind, name = entry.get("type"), entry.get("name")
        if not isinstance(name, str):
            raise Corrupt(f"the table of contents of {what} has an entry without a name")
        if kind == "reg" and number_of(entry, "size"):
            if name in found:
                raise Corrupt(f"the table of contents of {what} names {name[:200]!r} twice")
            size = number_of(entry, "size")
            found[name], ends[name] = [_chunk(entry, size, whole=not entry.get("chunkDigest"))], number_of(entry, "endOffset")
            last = name
        elif kind == "chunk":
            if name != last or not found:
                raise Corrupt(f"the table of contents of {what} has a chunk of {name[:200]!r} in the wrong place")
            found[name].append(_chunk(entry, 0, whole=False))
    return {name: _ended(chunks, ends[name], name) for name, chunks in found.items()}


def _chunk(entry: dict[str, Any], size: int, *, whole: bool) -> Chunk:
    digest = entry.get("digest") if whole else entry.get("chunkDigest")
    if entry.get("chunkType") == ZEROS:
        digest = ZEROS
    elif not isinstance(digest, str) or len(digest) != 71 or not digest.startswith("sha256:") or digest[7:].strip("0123456789abcdef"):
        raise Corrupt(f"the table of contents: {str(digest)[:80]!r} is no digest")
    return (number_of(entry, "offset"), 0, number_of(entry, "chunkOffset"), size if whole else number_of(entry, "chunkSize"), digest)


def _ended(chunks: list[Chunk], end: int, name: str) -> list[Chunk]:
    """The chunks of a file with their ends; Corrupt where they do not follow each other."""
    ended, position = [], 0
    for number, (start, _, at, size, digest) in enumerate(chunks):
        stop = chunks[number + 1][0] if number + 1 < len(chunks) else end
        if at != position or size <= 0 or not 0 <= start < stop:
            raise Corrupt(f"the table of contents has impossible chunks of {name[:200]!r}")
        ended.append((start, stop, at, size, digest))
        position += size
    return ended


def number_of(entry: dict[str, Any], name: str) -> int:
    """A field that is a number, 0 where it is absent; Corrupt for anything else."""
    value = entry.get(name) or 0
    if type(value) is not int or not 0 <= value <= LARGEST_SIZE:
        raise Corrupt(f"the table of contents: {name}: {str(value)[:40]!r} is no number")
    return value


def split_members(split: bytes) -> Iterator[bytes | tuple[str, int]]:
    """A tar-split in order: bytes of the tar, and (name, size) where the content of a file belongs. Corrupt."""
    for line in io.BytesIO(split):
        try:
            entry = jsontext.loads(line)
            if entry["type"] == 2:
                yield binascii.a2b_base64(entry.get("payload") or "")
            elif entry["type"] == 1 and entry.get("size"):
                name = entry.get("name")
                yield name if name is not None else binascii.a2b_base64(entry["name_raw"]).decode(), number_of(entry, "size")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"the tar-split is malformed: {error}") from None
