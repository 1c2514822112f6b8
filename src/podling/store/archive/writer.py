"""Tars of trees that never were one: exports, volumes, copies, and the changes that a container made.

The form is Podman's: ustar headers, pax records only where something does not fit, times in whole seconds, members in the
order of their names, sockets left out.
"""

from __future__ import annotations

import errno
import os

from podling.errors import Unsupported
from podling.record import Record
from podling.store.archive.directories import Directories
from podling.store.archive.headers import BLOCK, XATTR
from podling.store.archive.numbers import SECOND, format_octal, format_pax_time
from podling.store.archive.paths import OPAQUE, WHITEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 20
_END_8, _END_12 = 8 ** 7, 8 ** 11               # what does not fit into octal fields of 8 and 12 bytes any more
END = bytes(2 * BLOCK)
_TYPES = {0o100000: b"0", 0o120000: b"2", 0o020000: b"3", 0o060000: b"4", 0o040000: b"5", 0o010000: b"6"}
_KIND, _DIR, _REG, _LNK, _CHR = 0o170000, 0o040000, 0o100000, 0o120000, 0o020000
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_STEERING = (b"redirect", b"metacopy")


class TarOptions(Record):
    """How a tree is written.

    ``whiteouts``: overlay's marks become ``.wh.`` names, as in the layer of an image. ``owner``: everything belongs to this
    (uid, gid). ``ids``: what is written for the (uid, gid) that files have. ``include_root``: the first member is the directory
    itself. ``exclude``: paths, relative to the root, that are left out with all below.
    """

    whiteouts: bool = False
    owner: tuple[int, int] | None = None
    ids: Callable[[int, int], tuple[int, int]] | None = None
    include_root: bool = False
    exclude: tuple[str, ...] = ()


_DEFAULTS = TarOptions()


def header(name: bytes, *, kind: bytes = b"0", size: int = 0, mode: int = 0o644, uid: int = 0, gid: int = 0, mtime: int = 0,
           link: bytes = b"", device: tuple[int, int] = (0, 0), xattrs: dict[bytes, bytes] | None = None) -> bytes:
    """The header of one member: a block, with a pax header before it where the values need one. ``mtime`` in nanoseconds."""
    records: list[tuple[bytes, bytes]] = []
    if not (_is_utf8(name) and _is_utf8(link)):
        records.append((b"hdrcharset", b"BINARY"))  # what pax calls names that are just bytes
    if len(name) > 100 or not name.isascii():
        records.append((b"path", name))
    if len(link) > 100 or not link.isascii():
        records.append((b"linkpath", link))
    seconds, rest = divmod(mtime, SECOND)
    if rest or not 0 <= seconds < _END_12:
        records.append((b"mtime", format_pax_time(mtime)))
    large = ((b"size", size, _END_12), (b"uid", uid, _END_8), (b"gid", gid, _END_8))
    records += [(key, b"%d" % value) for key, value, end in large if value >= end]
    records += [(XATTR + key, value) for key, value in sorted((xattrs or {}).items())]
    block = _block(name[:100], kind, size if size < _END_12 else 0, mode, uid if uid < _END_8 else 0,
                   gid if gid < _END_8 else 0, seconds if 0 <= seconds < _END_12 else 0, link[:100], device)
    if not records:
        return block
    body = b"".join(_record(key, value) for key, value in records)
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    pax_name = (directory + b"/PaxHeaders.0/" + base if directory else b"PaxHeaders.0/" + base)[:100]
    return _block(pax_name, b"x", len(body), 0, 0, 0, 0, b"", (0, 0)) + body + bytes(-len(body) % BLOCK) + block


def _is_utf8(name: bytes) -> bool:
    if not name.isascii():
        try:
            name.decode()
        except UnicodeDecodeError:
            return False
    return True


def _block(name: bytes, kind: bytes, size: int, mode: int, uid: int, gid: int, seconds: int, link: bytes,
           device: tuple[int, int]) -> bytes:
    numbers = b"".join([format_octal(mode, 8), format_octal(uid, 8), format_octal(gid, 8), format_octal(size, 12),
                        format_octal(seconds, 12)])
    devices = format_octal(device[0], 8) + format_octal(device[1], 8)
    before = name.ljust(100, b"\0") + numbers
    after = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + devices + bytes(167)
    return before + b"%06o\0 " % (sum(before) + sum(after) + 256) + after


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value newline``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def padding(size: int) -> bytes:
    """What follows content of this size up to a whole block."""
    return bytes(-size % BLOCK)


def tar_tree(directory_fd: int, options: TarOptions = _DEFAULTS, *, start: str = "", name: str | None = None,
             ) -> Iterator[bytes]:
    """A tar of a directory, or of the file or directory ``start`` in it, in chunks of about a megabyte.

    ``name`` is what ``start`` is called in the tar (its own last name by default). Links are not followed. A file that shrinks
    meanwhile is filled up with zeros. OSError with the path where something cannot be read.
    """
    tree = _Tree(directory_fd, options)
    parts: list[bytes] = []
    size = 0
    try:
        for piece in tree.members(os.fsencode(start).strip(b"/"), None if name is None else os.fsencode(name)):
            parts.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield b"".join(parts)
                parts.clear()
                size = 0
    finally:
        tree.directories.close()
    yield b"".join(parts) + END


class _Tree:
    """A tree being written."""

    def __init__(self, root_fd: int, options: TarOptions) -> None:
        self.options = options
        self.directories = Directories(root_fd)
        self._links: dict[tuple[int, int], bytes] = {}
        self._exclude = {os.fsencode(path).strip(b"/") for path in options.exclude}

    def members(self, start: bytes, name: bytes | None) -> Iterator[bytes]:
        if not start:
            if self.options.include_root or name is not None:
                yield from self._directory(b"", os.stat(self.directories.root_fd), (name or b".") + b"/")
            yield from self._below(b"", b"" if name is None else name + b"/")
            return
        parent, _, last = start.rpartition(b"/")
        found = os.stat(last, dir_fd=self.directories.fd(parent), follow_symlinks=False)
        name = last if name is None else name
        yield from self._member(start, name, found)
        if found.st_mode & _KIND == _DIR:
            yield from self._below(start, name + b"/")

    def _below(self, path: bytes, prefix: bytes) -> Iterator[bytes]:
        """All that a directory holds, depth first."""
        todo = [(path, prefix, iter(self._names(path)))]
        while todo:
            path, prefix, names = todo[-1]
            name = next(names, None)
            if name is None:
                todo.pop()
                continue
            inner = path + b"/" + name if path else name
            if inner in self._exclude:
                continue
            try:
                found = os.stat(name, dir_fd=self.directories.fd(path), follow_symlinks=False)
            except FileNotFoundError:
                continue                     # removed meanwhile
            yield from self._member(inner, prefix + name, found)
            if found.st_mode & _KIND == _DIR:
                todo.append((inner, prefix + name + b"/", iter(self._names(inner))))

    def _names(self, path: bytes) -> list[bytes]:
        try:
            return sorted(os.fsencode(name) for name in os.listdir(self.directories.fd(path)))
        except FileNotFoundError:
            return []

    def _member(self, path: bytes, name: bytes, found: os.stat_result) -> Iterator[bytes]:
        kind = found.st_mode & _KIND
        if kind == _DIR:
            yield from self._directory(path, found, name + b"/")
            return
        if kind not in _TYPES:
            return                           # a socket
        if self.options.whiteouts and kind == _CHR and found.st_rdev == 0:
            directory, _, last = name.rpartition(b"/")
            yield self._header((directory + b"/" if directory else b"") + WHITEOUT + last, b"0", found, mode=0)
            return
        if found.st_nlink > 1:
            inode = (found.st_dev, found.st_ino)
            first = self._links.setdefault(inode, name)
            if first is not name:
                yield self._header(name, b"1", found, link=first)
                return
        if kind == _REG:
            yield from self._file(path, name, found)
        elif kind == _LNK:
            yield self._header(name, b"2", found, link=self._link_text(path))
        else:
            device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in (_CHR, 0o060000) else (0, 0)
            yield self._header(name, _TYPES[kind], found, device=device)

    def _link_text(self, path: bytes) -> bytes:
        parent, _, last = path.rpartition(b"/")
        return os.readlink(last, dir_fd=self.directories.fd(parent))

    def _directory(self, path: bytes, found: os.stat_result, name: bytes) -> Iterator[bytes]:
        fd = self.directories.fd(path)
        xattrs, marks = self._xattrs(fd, path)
        yield self._header(name, b"5", found, xattrs=xattrs)
        if self.options.whiteouts and b"opaque" in marks:
            yield self._header(name + OPAQUE, b"0", found, mode=0)

    def _file(self, path: bytes, name: bytes, found: os.stat_result) -> Iterator[bytes]:
        parent, _, last = path.rpartition(b"/")
        try:
            fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.directories.fd(parent))
        except FileNotFoundError:
            return
        try:
            found = os.fstat(fd)
            xattrs, _ = self._xattrs(fd, path)
            size = left = found.st_size
            yield self._header(name, b"0", found, size=size, xattrs=xattrs)
            while left:
                data = os.read(fd, min(left, CHUNK)) or bytes(min(left, CHUNK))
                left -= len(data)
                yield data
            if size % BLOCK:
                yield padding(size)
        finally:
            os.close(fd)

    def _xattrs(self, fd: int, path: bytes) -> tuple[dict[bytes, bytes], set[bytes]]:
        """(attributes that go into the tar, overlay's marks)."""
        kept: dict[bytes, bytes] = {}
        marks: set[bytes] = set()
        for text in os.listxattr(fd):
            name = os.fsencode(text)
            private = next((prefix for prefix in _OVERLAY if name.startswith(prefix)), None)
            if private is not None:
                marks.add(name[len(private):])
            elif name == b"security.capability" or name.startswith(b"user."):
                kept[name] = self._xattr(fd, name)
        if self.options.whiteouts and any(mark in marks for mark in _STEERING):
            raise Unsupported(f"{os.fsdecode(path)}: the container's file system was mounted with metacopy or redirect_dir, "
                              "and what has changed cannot be told without its layers")
        return kept, marks

    @staticmethod
    def _xattr(fd: int, name: bytes) -> bytes:
        try:
            return os.getxattr(fd, name)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return b""

    def _header(self, name: bytes, kind: bytes, found: os.stat_result, *, size: int = 0, mode: int | None = None,
                link: bytes = b"", device: tuple[int, int] = (0, 0), xattrs: dict[bytes, bytes] | None = None) -> bytes:
        options = self.options
        uid, gid = options.owner or (options.ids(found.st_uid, found.st_gid) if options.ids else (found.st_uid, found.st_gid))
        return header(name, kind=kind, size=size, mode=found.st_mode & 0o7777 if mode is None else mode, uid=uid, gid=gid,
                      mtime=found.st_mtime_ns // SECOND * SECOND, link=link, device=device, xattrs=xattrs)
