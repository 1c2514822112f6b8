"""Archives of images (docker-archive, oci-archive): where their members are, without unpacking anything.

An archive is read in place: members are (offset, size) in one file. Links inside it are followed by name, one step, never on
the file system. What is compressed or comes from a pipe is first written to a file in the store's own directory.
"""

from __future__ import annotations

import os
import stat

from podling.errors import Corrupt, PodlingError
from podling.image.compression import decompressed
from podling.linux import files
from podling.record import Record
from podling.store.archive import headers
from podling.store.archive.headers import HeaderParser, apply_pax, parse_pax
from podling.store.archive.numbers import format_octal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from podling.store.archive.headers import Entry

MEMBERS_LIMIT = 100_000
EXTENSION_LIMIT = 1 << 20                    # bytes of one extended header
_CHUNK = 1 << 20
BLOCK = 512


class Member(Record):
    """A regular file in an archive."""

    offset: int
    size: int


class Archive:
    """An opened archive: ``members`` by cleaned name. A context manager; its spool file goes with it."""

    def __init__(self, path: str, *, spool: str, read: Callable[[int], bytes] | None = None) -> None:
        """``path``: the file, or "-" for standard input; with ``read`` what comes from there is called so. ``spool``: directory for what
        cannot be read in place."""
        self.path = path
        self._spooled = ""
        self.fd = self._open(path, spool) if read is None else self._spool(decompressed(read)[0], spool)
        try:
            self.members = self._index()
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, spool: str) -> int:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            plain, kind = decompressed(lambda size: os.read(fd, size))
            if not kind and stat.S_ISREG(os.fstat(fd).st_mode):
                return fd or os.dup(0)
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
        """Where the regular files are; links get what they lead to, if that is a file of the archive."""
        found: dict[str, Member] = {}
        links: dict[str, str] = {}
        headers_of = _Headers(self.fd)
        try:
            while (entry := headers_of.next()) is not None:
                if headers_of.count > MEMBERS_LIMIT:
                    raise Corrupt(f"it has more than {MEMBERS_LIMIT} members")
                name = clean(os.fsdecode(entry.name))
                if entry.kind == headers.FILE:
                    found[name] = Member(offset=headers_of.offset, size=entry.size)
                    links.pop(name, None)
                    headers_of.skip(entry.size)
                elif entry.kind in (headers.SYMLINK, headers.LINK):
                    base = os.path.dirname(name) if entry.kind == headers.SYMLINK else ""
                    links[name] = clean(os.path.join(base, os.fsdecode(entry.link)))
                    found.pop(name, None)
        except Corrupt as error:
            said = "standard input" if self.path == "-" else self.path
            if headers_of.offset == 0:           # its first block is no header
                raise Corrupt("payload does not match any of the supported image formats: "
                              f"{said} is no archive that can be read") from None
            raise Corrupt(f"{said} is no archive that can be read") from error
        found.update({name: found[target] for name, target in links.items() if target in found})
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


class _Headers:
    """The headers of a tar, read where they stand; what lies between them is skipped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._end = os.fstat(fd).st_size
        self._parser = HeaderParser()
        self.offset = 0
        self.count = 0

    def next(self) -> Entry | None:
        """The next member, its extended headers applied; None at the archive's end. Its content is at ``offset``."""
        records: list[tuple[bytes, bytes]] = []
        name = link = b""
        while True:
            block = os.pread(self._fd, BLOCK, self.offset)
            if not block.strip(b"\0"):
                return None                   # two empty blocks, one, or none: as Go reads it
            if len(block) < BLOCK:
                raise Corrupt(f"it ends in the middle of a header, at byte {self.offset}")
            entry = self._parser.parse(block, self.offset)
            self.offset += BLOCK
            if entry.kind <= headers.FIFO:
                break
            if entry.kind == headers.GNU_SPARSE:
                raise Corrupt(f"{entry.name[:200]!r} is a sparse file")
            body = self._body(entry.size)
            if entry.kind == headers.PAX:
                records = parse_pax(body)
            elif entry.kind == headers.GNU_NAME:
                name = body.partition(b"\0")[0]
            elif entry.kind == headers.GNU_LINK:
                link = body.partition(b"\0")[0]
        apply_pax(entry, records)
        entry.name = name or entry.name
        if link:
            entry.link = link
        if entry.kind == headers.FILE and not 0 <= entry.size <= self._end - self.offset:
            raise Corrupt(f"it ends in {entry.name[:200]!r}")
        self.count += 1
        return entry

    def _body(self, size: int) -> bytes:
        if not 0 <= size <= EXTENSION_LIMIT:
            raise Corrupt(f"an extended header of {size} bytes at byte {self.offset}")
        body = os.pread(self._fd, size, self.offset)
        self.skip(size)
        self.count += 1
        return body

    def skip(self, size: int) -> None:
        """Go over so many bytes of content."""
        self.offset += padded(size)


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


def header(name: str, size: int) -> bytes:
    """The header of a regular file whose owner is root: ustar, the size in base 256 where octal digits do not do."""
    encoded = name.encode()
    if len(encoded) > 100:
        raise ValueError(f"{name!r} does not fit into a tar header")
    block = bytearray(BLOCK)
    for position, field in ((0, encoded), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
                            (124, format_octal(size, 12)), (136, b"00000000000\0"), (148, b" " * 8), (156, b"0"),
                            (257, b"ustar\00000")):
        block[position : position + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


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
