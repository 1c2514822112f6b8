"""Unpacking: a tar becomes a tree of files, safely, in one pass.

:func:`unpack` makes a layer: ``diff`` in overlay's form, ``tar-split`` to write the same tar again, and ``replaced`` where
the tar names a file twice. :func:`unpack_plain` makes just the files, into a tree that may exist and belong to somebody
hostile.
"""

from __future__ import annotations

import errno
import hashlib
import os

from podling.errors import Corrupt, PodlingError
from podling.record import Record
from podling.store.archive import headers
from podling.store.archive.compression import crc32
from podling.store.archive.extract import Extractor, UnpackOptions
from podling.store.archive.paths import META, WHITEOUT, as_text, clean
from podling.store.archive.reader import Reader, Stream
from podling.store.archive.split import DIFF, REPLACED, SPLIT, Index, SplitWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.store.archive.headers import Entry

_ACL = "system.posix_acl_default"
_DEFAULTS = UnpackOptions()


class Unpacked(Record):
    """What came out of an archive. Paths are relative, strings with surrogates for what is not UTF-8.

    ``size``: bytes of the files; ``tar_size``: of the uncompressed archive, whose digest is ``diff_id``.
    ``missing_parents``: directories that the archive needs and does not describe, parents first. ``has_root``: it describes
    the root itself.
    """

    diff_id: str
    size: int
    tar_size: int
    entries: int
    missing_parents: tuple[str, ...] = ()
    has_root: bool = False
    skipped: tuple[str, ...] = ()            # device nodes that were left out


def unpack(read: Callable[[int], bytes], directory_fd: int, options: UnpackOptions = _DEFAULTS) -> Unpacked:
    """Make ``diff``, ``tar-split`` and perhaps ``replaced`` in an empty directory.

    ``read(n)`` gives up to ``n`` bytes of the uncompressed tar, b"" at the end; its errors pass through. Corrupt for what is
    no tar or leads out of the directory, PodlingError where the file system refuses. On failure the directory holds what had
    been made.
    """
    digest = hashlib.sha256()

    def digesting(size: int) -> bytes:
        chunk = read(size)
        digest.update(chunk)
        return chunk

    diff, kept = _make_directory(directory_fd, DIFF), _make_directory(directory_fd, REPLACED)
    split = os.open(SPLIT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory_fd)
    try:
        writer = SplitWriter(split)
        unpacking = _Unpacking(digesting, Extractor(diff, options, kept), writer)
        entries, tar_size = unpacking.run()
        diff_id = f"sha256:{digest.hexdigest()}"
        extractor = unpacking.extractor
        try:
            writer.finish(_index(extractor, diff_id, tar_size, entries))
            if not extractor.replaced and not extractor.kept:
                os.rmdir(REPLACED, dir_fd=directory_fd)
        except OSError as error:
            raise _failed(error, None) from error
    finally:
        for fd in (diff, kept, split):
            os.close(fd)
    return _result(extractor, diff_id, tar_size, entries)


def _index(extractor: Extractor, diff_id: str, tar_size: int, entries: int) -> Index:
    return Index(diff_id=diff_id, tar_size=tar_size, entries=entries,
                 replaced=tuple((index, os.fsdecode(path), os.fsdecode(name)) for index, path, name in extractor.replaced),
                 resolved=tuple((index, os.fsdecode(path)) for index, path in extractor.resolved),
                 kept=tuple((index, os.fsdecode(name)) for index, name in extractor.kept))


def unpack_plain(read: Callable[[int], bytes], directory_fd: int, options: UnpackOptions = _DEFAULTS) -> Unpacked:
    """Put the members of a tar into a directory, which may have content; names that begin with ``.wh.`` mean nothing here.

    The same safety as :func:`unpack`; what is in the way of a member is replaced, but directories are merged. ``diff_id`` is
    "".
    """
    options = options.replace(whiteouts=False)
    unpacking = _Unpacking(read, Extractor(directory_fd, options), None)
    entries, tar_size = unpacking.run()
    return _result(unpacking.extractor, "", tar_size, entries)


def _result(extractor: Extractor, diff_id: str, tar_size: int, entries: int) -> Unpacked:
    return Unpacked(diff_id=diff_id, size=extractor.size, tar_size=tar_size, entries=entries, has_root=extractor.has_root,
                    missing_parents=tuple(os.fsdecode(path) for path in sorted(extractor.missing)),
                    skipped=tuple(os.fsdecode(path) for path in extractor.skipped))


def _make_directory(parent: int, name: str) -> int:
    """A directory that inherits nothing: neither a set-group-id bit nor a default access control list."""
    os.mkdir(name, 0o755, dir_fd=parent)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    os.fchown(fd, os.geteuid(), os.getegid())
    try:
        os.removexattr(fd, _ACL)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
    os.fchmod(fd, 0o755)
    return fd


class _Unpacking:
    """One archive on its way into one tree."""

    def __init__(self, read: Callable[[int], bytes], extractor: Extractor, split: SplitWriter | None) -> None:
        options = extractor.options
        record = split.record if split else _nothing
        self.checksum = split.checksum if split else _nothing
        self.stream = Stream(read, record, limit=options.max_bytes)
        self.reader = Reader(self.stream, limit=options.max_entries)
        self.extractor = extractor
        self.whiteouts = options.whiteouts
        self.ids = options.ids

    def run(self) -> tuple[int, int]:
        """Unpack all: (number of entries, bytes of the archive)."""
        entry: Entry | None = None
        try:
            while (entry := self.reader.next()) is not None:
                self._member(entry)
            self.extractor.finish()
        except OSError as error:
            if self.stream.reading:
                raise
            raise _failed(error, entry) from error
        finally:
            self.extractor.close()
        return self.reader.count, self.stream.offset

    def _member(self, entry: Entry) -> None:
        extractor = self.extractor
        if self.whiteouts and WHITEOUT in entry.name and self._mark(entry):
            return
        if self.ids is not None:
            entry.uid, entry.gid = self.ids(entry.uid, entry.gid)
        parent, name, path = extractor.place(entry)
        extractor.touch(parent, path)
        kind = entry.kind
        if kind == headers.FILE:
            fd = extractor.open_file(parent, name, path, entry)
            if entry.size or entry.sparse is not None:
                try:
                    self._content(fd, entry)
                except BaseException:
                    os.close(fd)
                    raise
            extractor.close_file(fd, entry)
        elif kind == headers.DIRECTORY:
            extractor.directory(parent, name, path, entry)
        elif kind == headers.SYMLINK:
            extractor.symlink(parent, name, path, entry)
        elif kind == headers.LINK:
            extractor.hard_link(parent, name, path, entry)
        else:
            extractor.special(parent, name, path, entry)

    def _content(self, fd: int, entry: Entry) -> None:
        size = entry.size
        if entry.sparse is not None:
            self._sparse_content(fd, entry)
            return
        piece = self.stream.small_content(size)
        if piece is not None:
            written = os.write(fd, piece)
            if written != size:
                _write(fd, piece[written:])
            self.checksum(crc32(piece))
            return
        checksum = 0
        for piece in self.stream.content(size):
            _write(fd, piece)
            checksum = crc32(piece, checksum)
        self.checksum(checksum)

    def _sparse_content(self, fd: int, entry: Entry) -> None:
        checksum = 0
        for offset, length in entry.sparse or ():
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in self.stream.content(length):
                _write(fd, piece)
                checksum = crc32(piece, checksum)
        os.ftruncate(fd, entry.real_size)
        if entry.size:
            self.checksum(checksum)

    def _mark(self, entry: Entry) -> bool:
        """Act on a ``.wh.`` name; False if the name only looks like one."""
        path = clean(entry.name)
        parts = path.split(b"/")
        if any(part.startswith(META) for part in parts[:-1]):
            self._keep_content(entry)        # aufs' own files, in images of 2014
            return True
        if not parts[-1].startswith(WHITEOUT):
            return False
        extractor = self.extractor
        parent, name, path = extractor.place(entry)
        extractor.touch(parent, path)
        extractor.whiteout(parent, name, path)
        self._keep_content(entry)
        return True

    def _keep_content(self, entry: Entry) -> None:
        """Content that no file of the tree shows still belongs to the archive."""
        if not entry.size:
            return
        fd = self.extractor.keep_content(entry)
        checksum = 0
        try:
            for piece in self.stream.content(entry.size):
                _write(fd, piece)
                checksum = crc32(piece, checksum)
        finally:
            os.close(fd)
        self.checksum(checksum)


def _write(fd: int, piece: memoryview) -> None:
    """Write all of it."""
    while piece:
        piece = piece[os.write(fd, piece):]


def _nothing(_: object) -> None:
    """Nothing is recorded."""


def _failed(error: OSError, entry: Entry | None) -> PodlingError:
    name = as_text(entry.name) if entry else ""
    what = f"unpacking {name}" if name else "unpacking"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PodlingError(what, hint="Free some space, for example with 'podling image prune', or use another --root")
    if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
        return Corrupt(f"archive: {name!r} is no name that this file system takes")
    return PodlingError(what)


