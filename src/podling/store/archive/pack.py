"""Packing: the tar that a layer was unpacked from, written again byte for byte."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right

from podling.errors import Corrupt
from podling.store.archive.compression import crc32
from podling.store.archive.directories import Directories
from podling.store.archive.paths import as_text, clean
from podling.store.archive.reader import CHUNK, Reader, Stream
from podling.store.archive.split import DIFF, REPLACED, SPLIT, SplitReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.store.archive.headers import Entry

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(path: str, *, verify: bool = True) -> Iterator[bytes]:
    """The tar of the layer in the directory ``path`` (that of its ``diff``), in chunks of about a megabyte.

    Corrupt, naming the file, where one is missing or has another content than when it was unpacked. With ``verify`` the
    digest of the whole is checked too; who computes it anyway can do without.
    """
    with Packer(path) as packer:
        digest = hashlib.sha256() if verify else None
        for chunk in packer.chunks():
            if digest is not None:
                digest.update(chunk)
            yield chunk
        if digest is not None and f"sha256:{digest.hexdigest()}" != packer.index.diff_id:
            raise Corrupt(f"{path}: its tar has the digest sha256:{digest.hexdigest()}, expected {packer.index.diff_id}")


class Packer:
    """A layer being packed; to be closed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fds: list[int] = []
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
            self._split = SplitReader(self._open(SPLIT, os.O_RDONLY, fd), f"{path}/{SPLIT}")
            self.index = self._split.index
            self._files = Directories(self._open(DIFF, os.O_RDONLY | os.O_DIRECTORY, fd))
            self._aside: Directories | None = None
            if self.index.replaced or self.index.kept:
                self._aside = Directories(self._open(REPLACED, os.O_RDONLY | os.O_DIRECTORY, fd))
        except OSError as error:
            self.close()
            raise Corrupt(f"layer {path} is damaged") from error
        except BaseException:
            self.close()
            raise
        self._places = _Places(self.index.replaced, self.index.resolved, self.index.kept)
        self._parts: list[bytes] = []
        self._size = 0
        self._total = 0
        self._next_checksum = 0

    def _open(self, path: str, flags: int, dir_fd: int | None = None) -> int:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        self._fds.append(fd)
        return fd

    def close(self) -> None:
        """Close all files."""
        for directories in (getattr(self, "_files", None), getattr(self, "_aside", None)):
            if directories is not None:
                directories.close()
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """The tar, unverified but for the checksums of its files."""
        stream = Stream(self._split.read, self._add)
        reader = Reader(stream)
        while (entry := reader.next()) is not None:
            if entry.size:
                stream.flush()
                for piece in self._content(entry):
                    self._add(piece)
                    if self._size >= CHUNK:
                        yield self._take()
        yield self._take()
        if self._total != self.index.tar_size or self._next_checksum != self._split.contents:
            raise Corrupt(f"{self.path}: its tar has {self._total} bytes, expected {self.index.tar_size}")

    def _add(self, piece: bytes) -> None:
        self._parts.append(piece)
        self._size += len(piece)

    def _take(self) -> bytes:
        chunk = b"".join(self._parts)
        self._total += len(chunk)
        self._parts.clear()
        self._size = 0
        return chunk

    def _content(self, entry: Entry) -> Iterator[bytes]:
        """The content of one member; Corrupt where it is not what was unpacked."""
        place = self._places.of(entry)
        fd = self._open_member(place)
        try:
            checksum = 0
            if entry.sparse is None and entry.size < CHUNK:
                data = os.read(fd, entry.size + 1)
                if len(data) != entry.size:
                    raise self._changed(place, f"it has not the {entry.size} bytes that it had when it was unpacked")
                checksum = crc32(data)
                yield data
            else:
                for data in self._large(fd, entry, place):
                    checksum = crc32(data, checksum)
                    yield data
        except OSError as error:
            raise self._changed(place, "it cannot be read") from error
        finally:
            os.close(fd)
        if self._next_checksum >= self._split.contents or self._split.checksum(self._next_checksum) != checksum:
            raise self._changed(place, "its content is not what it was when it was unpacked")
        self._next_checksum += 1

    def _large(self, fd: int, entry: Entry, place: tuple[bool, bytes]) -> Iterator[bytes]:
        if os.fstat(fd).st_size != (entry.real_size if not self._places.is_kept(entry.index) else entry.size):
            raise self._changed(place, f"it has not the {entry.real_size} bytes that it had when it was unpacked")
        whole = [(0, entry.size)]
        for offset, length in whole if entry.sparse is None or self._places.is_kept(entry.index) else entry.sparse:
            at, end = offset, offset + length
            while at < end:
                data = os.pread(fd, min(CHUNK, end - at), at)
                if not data:
                    raise self._changed(place, "it has become shorter")
                at += len(data)
                yield data

    def _open_member(self, place: tuple[bool, bytes]) -> int:
        """The file that holds a member's content now."""
        aside, path = place
        directories = self._aside if aside else self._files
        if directories is None:
            raise self._changed(place, "it is missing")
        parent, _, base = path.rpartition(b"/")
        try:
            return os.open(base, _READ, dir_fd=directories.fd(parent))
        except OSError as error:
            raise self._changed(place, "it cannot be opened") from error

    def _changed(self, place: tuple[bool, bytes], why: str) -> Corrupt:
        aside, path = place
        return Corrupt(f"{self.path}/{REPLACED if aside else DIFF}/{as_text(path)}: the layer is damaged: {why}",
                       hint="Remove the image and pull it again")


class _Places:
    """Where the content of each member is now."""

    def __init__(self, replaced: tuple[tuple[int, str, str], ...], resolved: tuple[tuple[int, str], ...],
                 kept: tuple[tuple[int, str], ...]) -> None:
        self._resolved = {index: os.fsencode(path) for index, path in resolved}
        self._kept = {index: os.fsencode(name) for index, name in kept}
        self._replaced: dict[bytes, tuple[list[int], list[bytes]]] = {}
        for index, path, name in replaced:
            indices, names = self._replaced.setdefault(os.fsencode(path), ([], []))
            indices.append(index)
            names.append(os.fsencode(name))

    def is_kept(self, index: int) -> bool:
        """Whether a member's content is in a file of its own."""
        return index in self._kept

    def of(self, entry: Entry) -> tuple[bool, bytes]:
        """(True: in ``replaced``, path) of the file with the content of a member."""
        kept = self._kept.get(entry.index)
        if kept is not None:
            return True, kept
        path = self._resolved.get(entry.index)
        if path is None:
            path = clean(entry.name)
        return self._after_replacements(path, entry.index) if self._replaced else (False, path)

    def _after_replacements(self, path: bytes, index: int) -> tuple[bool, bytes]:
        """The first replacement, later than the member, of its path or of a directory above has taken it aside."""
        first: tuple[int, bytes, bytes] | None = None
        top, rest = path, b""
        while top:
            known = self._replaced.get(top)
            if known is not None:
                at = bisect_right(known[0], index)
                if at < len(known[0]) and (first is None or known[0][at] < first[0]):
                    first = known[0][at], known[1][at], rest
            top, _, last = top.rpartition(b"/")
            rest = last + b"/" + rest if rest else last
        if first is None:
            return False, path
        _, name, below = first
        return True, name + b"/" + below if below else name


