"""Layers copied into one plain tree, for file systems that cannot carry an overlay (driver "vfs").

Content is shared with the layers where the file system can (reflink), otherwise copied in the kernel.
"""

from __future__ import annotations

import errno
import fcntl
import os

from podling.errors import PodlingError
from podling.store.stack import merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Owner = Callable[[int, int], tuple[int, int]]

_KIND, _DIR, _REG, _LNK = 0o170000, 0o040000, 0o100000, 0o120000
_FICLONE = 0x40049409
_OWN_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux")


def copy_layers(lowers: Sequence[str], target: str, *, owner: Owner | None = None) -> int:
    """Make ``target`` the tree that an overlay of ``lowers`` (topmost first) would show; the bytes of its files.

    ``owner`` gives the copy's uid and gid for those of the layers (-1: the same). PodlingError names what failed.
    """
    copy = _Copy(owner)
    try:
        os.mkdir(target, 0o755)
        copy.directory(list(lowers), target)
    except OSError as error:
        hint = None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "The driver vfs copies all layers for each container; free some space, or use the driver overlay"
        raise PodlingError(f"copying the layers to {target}", hint=hint) from error
    return copy.size


class _Copy:
    """One copy; it remembers files with several names."""

    def __init__(self, owner: Owner | None) -> None:
        self._links: dict[tuple[int, int], str] = {}
        self._owner = owner
        self.size = 0

    def directory(self, sources: list[str], target: str) -> None:
        """Fill a directory with what those, topmost first, hold together; parents before children, times at the end."""
        times: list[tuple[str, int]] = []
        todo = [(sources, target)]
        while todo:
            sources, target = todo.pop()
            for name, parts in merged(sources).items():
                inner = f"{target}/{name}"
                if os.lstat(parts[0]).st_mode & _KIND == _DIR:
                    os.mkdir(inner, 0o700)
                    todo.append((parts, inner))
                else:
                    self._file(parts[0], inner)
            if sources:
                status = os.lstat(sources[0])
                self._dress(sources[0], target, status)
                times.append((target, status.st_mtime_ns))
        for path, mtime in reversed(times):
            os.utime(path, ns=(mtime, mtime))

    def _file(self, source: str, target: str) -> None:
        status = os.lstat(source)
        kind = status.st_mode & _KIND
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if kind == _REG:
            _copy_content(source, target)
            self.size += status.st_size
        elif kind == _LNK:
            os.symlink(os.readlink(source), target)
        else:
            os.mknod(target, status.st_mode, status.st_rdev)
        self._dress(source, target, status)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)

    def _dress(self, source: str, target: str, status: os.stat_result) -> None:
        """Owner, mode and extended attributes."""
        uid, gid = self._owner(status.st_uid, status.st_gid) if self._owner else (status.st_uid, status.st_gid)
        os.chown(target, status.st_uid if uid < 0 else uid, status.st_gid if gid < 0 else gid, follow_symlinks=False)
        if status.st_mode & _KIND != _LNK:
            os.chmod(target, status.st_mode & 0o7777)
        for name in os.listxattr(source, follow_symlinks=False):
            if not name.startswith(_OWN_XATTRS):
                os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)


def _copy_content(source: str, target: str) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.ioctl(writer, _FICLONE, reader)
            except OSError:                     # another file system, or one that shares nothing
                while os.sendfile(writer, reader, None, 1 << 30):
                    pass
        finally:
            os.close(writer)
    finally:
        os.close(reader)

