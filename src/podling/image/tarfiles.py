"""Archives of images (docker-archive, oci-archive): where their members are, without unpacking anything.

An archive is read in place: members are (offset, size) in one file. Links inside it are followed by name, one step, never on
the file system. What is compressed or comes from a pipe is first written to a file in the store's own directory.
"""

from __future__ import annotations

import os
import stat
import tarfile

from podling.errors import Corrupt, PodlingError
from podling.image.compression import decompressed
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

MEMBERS_LIMIT = 100_000
_CHUNK = 1 << 20
BLOCK = 512


class Member(Record):
    """A regular file in an archive."""

    offset: int
    size: int


class Archive:
    """An opened archive: ``members`` by cleaned name. A context manager; its spool file goes with it."""

    def __init__(self, path: str, *, spool: str) -> None:
        """``path``: the file, or "-" for standard input. ``spool``: directory for what cannot be read in place."""
        self.path = path
        self._spooled = ""
        self.fd = self._open(path, spool)
        try:
            self.members = self._index()
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, spool: str) -> int:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            plain, kind = decompressed(lambda size: os.read(fd, size))
            if not kind and path != "-" and stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            spooled = self._spool(plain, spool)
        except BaseException:
            if fd:
                os.close(fd)
            raise
        if fd:
            os.close(fd)
        return spooled

    def _spool(self, read: Callable[[int], bytes], directory: str) -> int:
        files.make_directories(directory, 0o700)
        self._spooled = f"{directory}/{files.unique_name()}"
        fd = os.open(self._spooled, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(self._spooled)              # nothing is left of it whatever happens
        try:
            while data := read(_CHUNK):
                files.write_all(fd, data)
        except OSError as error:
            os.close(fd)
            raise PodlingError(f"writing archive {self.path} to {directory}") from error
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _index(self) -> dict[str, Member]:
        found: dict[str, Member] = {}
        links: dict[str, str] = {}
        end = os.fstat(self.fd).st_size
        try:
            with open(self.fd, "rb", closefd=False) as file:
                file.seek(0)
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    for count, entry in enumerate(archive):
                        if count >= MEMBERS_LIMIT:
                            raise Corrupt(f"archive {self.path} has more than {MEMBERS_LIMIT} members")
                        name = clean(entry.name)
                        if entry.isreg() and not entry.issparse():
                            if entry.offset_data + entry.size > end:
                                raise Corrupt(f"archive {self.path} ends too early, in {entry.name[:200]!r}")
                            found[name] = Member(offset=entry.offset_data, size=entry.size)
                        elif entry.issym() or entry.islnk():
                            base = os.path.dirname(name) if entry.issym() else ""
                            links[name] = clean(os.path.join(base, entry.linkname))
        except (tarfile.TarError, UnicodeError, OverflowError, ValueError) as error:
            raise Corrupt(f"{self.path} is not a tar archive: {str(error)[:200]}") from None
        found.update({name: found[target] for name, target in links.items() if target in found and name not in found})
        return found

    def find(self, name: str) -> Member:
        """The member of this name; Corrupt where there is none."""
        member = self.members.get(clean(name))
        if member is None:
            raise Corrupt(f"archive {self.path} has no file {name[:200]!r}")
        return member

    def content(self, name: str, limit: int) -> bytes:
        """A small member's content."""
        member = self.find(name)
        if member.size > limit:
            raise Corrupt(f"archive {self.path}: {name[:200]!r} is longer than {limit} bytes")
        return os.pread(self.fd, member.size, member.offset)

    def reader(self, member: Member) -> Callable[[int], bytes]:
        """The member as a stream; several may be read at once, also by forked processes."""
        return file_reader(self.fd, member.offset, member.size)

    def close(self) -> None:
        """Close the file."""
        if self.fd > 0:
            os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def file_reader(fd: int, offset: int, size: int) -> Callable[[int], bytes]:
    """A part of a file as a stream, by positions of its own."""
    position, end = offset, offset + size

    def read(wanted: int) -> bytes:
        nonlocal position
        data = os.pread(fd, min(wanted, end - position), position)
        position += len(data)
        return data

    return read


def clean(name: str) -> str:
    """A member's name as a path from the archive's top, whatever it was; it is never used on the file system."""
    return os.path.normpath("/" + name).lstrip("/")


# --- writing ----------------------------------------------------------------------------------------------------------


def header(name: str, size: int, *, directory: bool = False, mtime: int = 0) -> bytes:
    """The header of a member."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, mtime, 0o755 if directory else 0o644
    entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    return entry.tobuf(tarfile.GNU_FORMAT)


def padded(size: int) -> int:
    """The size in the archive of that many bytes."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


class Planned(Record):
    """A member to be written: ``content``, or ``size`` bytes that come from elsewhere (``layer``: a number)."""

    name: str
    content: bytes = b""
    size: int = 0
    layer: int = -1


def layout(members: list[Planned]) -> tuple[list[tuple[int, Planned, bytes]], int]:
    """((offset of its header, the member, that header) for each, the size of the whole archive)."""
    placed, offset = [], 0
    for member in members:
        size = member.size if member.layer >= 0 else len(member.content)
        head = header(member.name, size)
        placed.append((offset, member, head))
        offset += len(head) + padded(size)
    return placed, offset + 2 * BLOCK


def sequence(placed: list[tuple[int, Planned, bytes]], total: int, layer: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
    """The archive's bytes from its beginning to its end, for a pipe."""
    at = 0
    for offset, member, head in placed:
        yield bytes(offset - at) + head
        at = offset + len(head)
        for piece in layer(member.layer) if member.layer >= 0 else (member.content,):
            yield piece
            at += len(piece)
    yield bytes(total - at)
