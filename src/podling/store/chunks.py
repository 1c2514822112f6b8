"""Where the store holds which content: files and chunks of layers by their SHA-256, so that they need not be downloaded again.

    <graphroot>/layers/<key>/chunks      "podling chunks 1" newline, number of records (64 bits), records, paths ended by NUL
    record:     digest (32 bytes), position in the file, size (64 bits each), number of the path (32 bits)

The file exists for layers that came with a table of contents. It is what that table claimed: nothing is believed before the content
was read and hashed. In layers without one, files are looked for under the path that they are wanted for.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct

from podling.linux.files import open_beneath, read_bytes
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from podling.store.layers import Layers

    Wanted = dict[str, tuple[bytes, int, int]]

FILE = "chunks"
_MAGIC = b"podling chunks 1\n"
_COUNT = struct.Struct("<Q")
_RECORD = struct.Struct("<32sQQI")
_LARGEST = 1 << 28                           # bytes of such a file
_MOST_INDEXED = 256                          # layers that are looked into, the newest first
_MOST_OTHERS = 16
_BLOCK = 1 << 20


class Held(Record):
    """Content that a layer has: ``size`` bytes at ``position`` of a file."""

    layer: str                               # its diff directory
    path: bytes
    position: int
    size: int


def packed(chunks: Iterable[tuple[bytes, str, int, int]]) -> bytes:
    """The file for (path, "sha256:...", position, size) of each chunk."""
    names: dict[bytes, int] = {}
    records = [_RECORD.pack(bytes.fromhex(digest.removeprefix("sha256:")), position, size, names.setdefault(path, len(names)))
               for path, digest, position, size in chunks]
    return b"".join([_MAGIC, _COUNT.pack(len(records)), *records, *[name + b"\0" for name in names]])


def find(layers: Layers, wanted: Wanted) -> dict[str, Held]:
    """Which of the wanted contents ("sha256:..." -> path it is wanted for, position there, size) some layer has; each was hashed."""
    found: dict[str, Held] = {}
    missing = {bytes.fromhex(digest.removeprefix("sha256:")): digest for digest in wanted}
    others = []
    for (key,) in layers.database.rows("SELECT key FROM layers ORDER BY id DESC LIMIT ?", _MOST_INDEXED):
        directory = f"{layers.directory}/{key}"
        try:
            index = read_bytes(f"{directory}/{FILE}", _LARGEST)
        except FileNotFoundError:
            others.append(f"{directory}/diff")
            continue
        _take(found, wanted, _claimed(index, missing, f"{directory}/diff"))
        missing = {raw: digest for raw, digest in missing.items() if digest not in found}
    for directory in others[:_MOST_OTHERS]:
        places = [(digest, wanted[digest]) for digest in missing.values() if digest not in found]
        _take(found, wanted, [(digest, Held(layer=directory, path=path, position=position, size=size))
                              for digest, (path, position, size) in places if _may_have(directory, path, position + size)])
    return found


def _may_have(directory: str, path: bytes, size: int) -> bool:
    """A quick look; most are not there."""
    try:
        return os.lstat(os.fsencode(directory) + b"/" + path).st_size >= size
    except OSError:
        return False


def _claimed(index: bytes, missing: dict[bytes, str], directory: str) -> Iterator[tuple[str, Held]]:
    """What an index says of wanted digests; nothing where it is malformed."""
    start = len(_MAGIC) + _COUNT.size
    if not index.startswith(_MAGIC) or len(index) < start:
        return
    count, = _COUNT.unpack_from(index, len(_MAGIC))
    end = start + count * _RECORD.size
    if end > len(index):
        return
    records = [record for record in _RECORD.iter_unpack(memoryview(index)[start:end]) if record[0] in missing]
    if records:
        paths = index[end:].split(b"\0")
        for raw, position, size, number in records:
            if number < len(paths):
                yield missing[raw], Held(layer=directory, path=paths[number], position=position, size=size)


def _take(found: dict[str, Held], wanted: Wanted, claimed: Iterable[tuple[str, Held]]) -> None:
    """Add what is truly there."""
    for digest, held in claimed:
        if digest not in found and held.size == wanted[digest][2] and _has(held, digest):
            found[digest] = held


def _has(held: Held, digest: str) -> bool:
    sha = hashlib.sha256()
    try:
        for data in read(held):
            sha.update(data)
    except OSError:
        return False
    return f"sha256:{sha.hexdigest()}" == digest


def read(held: Held) -> Iterator[bytes]:
    """The content, in pieces; OSError where the file is not there, is none, or is too short."""
    root = os.open(held.layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open(root, held.path)
    finally:
        os.close(root)
    try:
        at, end = held.position, held.position + held.size
        while at < end:
            data = os.pread(fd, min(_BLOCK, end - at), at)
            if not data:
                raise OSError(f"{held.path!r} is too short")
            at += len(data)
            yield data
    finally:
        os.close(fd)


def _open(root: int, path: bytes) -> int:
    """A regular file. What it is is looked at first: opening a device may do something, and the path is a stranger's word."""
    place = open_beneath(root, os.fsdecode(path), os.O_PATH | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(f"{path!r} is no file")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def of_table(files: Mapping[str, Sequence[tuple[int, int, int, int, str]]]) -> Iterator[tuple[bytes, str, int, int]]:
    """What :func:`packed` takes, from a table of contents: name -> (start, end, position, size, digest) of its chunks."""
    from podling.store.archive.paths import clean

    for name, chunks in files.items():
        path = clean(name.encode())
        for _, _, position, size, digest in chunks:
            if digest.startswith("sha256:") and len(digest) == 71:
                yield path, digest, position, size
