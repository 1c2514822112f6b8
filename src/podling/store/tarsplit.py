"""Layer tars of other engines' stores, put together again from vbatts/tar-split's files.

Such a file is gzip of JSON lines: type 2 has bytes of the tar (headers, padding) in base64, type 1 names a file whose content
comes next.
"""

from __future__ import annotations

import binascii
import gzip
import hashlib
import os

from podling import jsontext
from podling.errors import Corrupt
from podling.store.archive.directories import Directories
from podling.store.archive.paths import as_text, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CHUNK = 1 << 20
_LONGEST_LINE = 64 << 20


def assemble(directory: str, tar_split: str, diff_id: str) -> Iterator[bytes]:
    """The tar of the layer in ``directory``, in chunks of about a megabyte; Corrupt where it has not the digest ``diff_id``."""
    digest = hashlib.sha256()
    parts: list[bytes] = []
    size = 0
    for piece in _pieces(directory, tar_split):
        parts.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            chunk = b"".join(parts)
            parts.clear()
            size = 0
            digest.update(chunk)
            yield chunk
    chunk = b"".join(parts)
    digest.update(chunk)
    yield chunk
    if diff_id and f"sha256:{digest.hexdigest()}" != diff_id:
        raise Corrupt(f"{directory}: its tar has the digest sha256:{digest.hexdigest()}, expected {diff_id}")


def _pieces(directory: str, tar_split: str) -> Iterator[bytes]:
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    directories = Directories(root)
    try:
        with gzip.open(tar_split, "rb") as lines:
            while line := lines.readline(_LONGEST_LINE):
                entry = _entry(line, tar_split)
                if entry.get("type") == 2:
                    yield binascii.a2b_base64(entry.get("payload") or "")
                elif entry.get("type") == 1 and entry.get("size"):
                    yield from _content(directories, _name(entry), int(entry["size"]), directory)
    except (OSError, EOFError, ValueError) as error:
        raise Corrupt(f"{tar_split}: the layer cannot be read") from error
    finally:
        directories.close()
        os.close(root)


def _entry(line: bytes, path: str) -> dict[str, Any]:
    entry = jsontext.loads(line)
    if not isinstance(entry, dict):
        raise Corrupt(f"{path}: not a tar-split file")
    return entry


def _name(entry: dict[str, Any]) -> bytes:
    raw = entry.get("name_raw")              # where the name is not UTF-8
    return clean(binascii.a2b_base64(raw) if raw else str(entry.get("name", "")).encode())


def _content(directories: Directories, name: bytes, size: int, directory: str) -> Iterator[bytes]:
    parent, _, base = name.rpartition(b"/")
    fd = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directories.fd(parent))
    try:
        if os.fstat(fd).st_size != size:
            raise Corrupt(f"{directory}/{as_text(name)}: the layer is damaged: expected {size} bytes")
        while data := os.read(fd, _CHUNK):
            yield data
    finally:
        os.close(fd)
