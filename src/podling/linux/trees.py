"""Directory trees: copied with all their attributes, and measured. No link is followed."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Owner = Callable[[int, int], tuple[int, int]]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30
# What the kernel keeps for itself, and overlay's own marks: they mean nothing at another place.
_FOREIGN_ATTRIBUTES = ("trusted.overlay.", "user.overlay.", "system.")


class _Pair:
    """A directory and its copy, with the names still to be copied."""

    __slots__ = ("names", "own", "owner", "source", "status", "target")

    def __init__(self, source: int, target: int, owner: Owner | None, *, own: bool) -> None:
        self.source = source
        self.target = target
        self.owner = owner
        self.own = own                           # the descriptors are ours to close
        self.status = os.fstat(source)
        self.names: list[str] = []

    def close(self) -> None:
        if self.own:
            os.close(self.source)
            os.close(self.target)


def copy_content(source: int, target: int, *, content: bool = True, owner: Owner | None = None) -> None:
    """Make the empty directory ``target`` a copy of ``source`` (both open directories): owners, modes, times, extended
    attributes, hard links, special files. ``content`` False: only the directory's own owner, mode, times and attributes.

    ``owner`` gives the copy's uid and gid for those of the source (-1: the same); then the copy is one for overlay to use as it uses
    the source, with overlay's own marks. On failure the copy is unfinished; the caller throws it away.
    """
    links: dict[tuple[int, int], int] = {}       # inode of several names -> descriptor (O_PATH) of its copy
    stack = [_Pair(source, target, owner, own=False)]
    try:
        stack[0].names = os.listdir(source) if content else []
        while stack:
            pair = stack[-1]
            if not pair.names:
                _copy_attributes(pair.source, pair.target, pair.status, pair.owner)
                stack.pop().close()
                continue
            below = _copy_entry(pair, pair.names.pop(), links)
            if below is not None:
                stack.append(below)
                below.names = os.listdir(below.source)
    finally:
        for pair in stack:
            pair.close()
        for fd in links.values():
            os.close(fd)


def _copy_entry(pair: _Pair, name: str, links: dict[tuple[int, int], int]) -> _Pair | None:
    """Copy one name; a directory is made, and answered to be filled."""
    status = os.stat(name, dir_fd=pair.source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        return _open_pair(pair, name)
    key = (status.st_dev, status.st_ino)
    if key in links:
        os.link(f"/proc/self/fd/{links[key]}", name, dst_dir_fd=pair.target, follow_symlinks=True)
        return None
    if stat.S_ISREG(status.st_mode):
        _copy_file(pair, name)
    else:
        _copy_special(pair, name, status)
    if status.st_nlink > 1:
        links[key] = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=pair.target)
    return None


def _open_pair(pair: _Pair, name: str) -> _Pair:
    source = os.open(name, _DIRECTORY, dir_fd=pair.source)
    try:
        os.mkdir(name, 0o700, dir_fd=pair.target)
        return _Pair(source, os.open(name, _DIRECTORY, dir_fd=pair.target), pair.owner, own=True)
    except BaseException:
        os.close(source)
        raise


def _copy_file(pair: _Pair, name: str) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=pair.source)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=pair.target)
        try:
            _copy_bytes(source, target)
            _copy_attributes(source, target, os.fstat(source), pair.owner)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_bytes(source: int, target: int) -> None:
    """By the kernel, which shares the blocks where the file system can."""
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        while os.sendfile(target, source, None, _CHUNK):   # from where the first way stopped
            pass


def _copy_special(pair: _Pair, name: str, status: os.stat_result) -> None:
    """A symbolic link, FIFO, socket or device node."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=pair.source), name, dir_fd=pair.target)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=pair.target)
    os.chown(name, *_owner(status, pair.owner), dir_fd=pair.target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=pair.target)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=pair.target, follow_symlinks=False)


def _owner(status: os.stat_result, owner: Owner | None) -> tuple[int, int]:
    """Who the copy of a file belongs to."""
    if owner is None:
        return status.st_uid, status.st_gid
    uid, gid = owner(status.st_uid, status.st_gid)
    return (status.st_uid if uid < 0 else uid), (status.st_gid if gid < 0 else gid)


def _copy_attributes(source: int, target: int, status: os.stat_result, owner: Owner | None) -> None:
    os.fchown(target, *_owner(status, owner))
    for attribute in _attributes(source, marks=owner is not None):
        try:
            os.setxattr(target, attribute, os.getxattr(source, attribute))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # the other file system has no such attributes
                raise
    os.fchmod(target, stat.S_IMODE(status.st_mode))   # after chown, which takes set-user-id bits away
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _attributes(fd: int, *, marks: bool) -> Iterator[str]:
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return
    for name in names:
        if not name.startswith(_FOREIGN_ATTRIBUTES) or name.startswith("system.posix_acl_") or (marks and not name.startswith("system.")):
            yield name


def change_owner(path: str, uid: int, gid: int) -> int:
    """Give a file, or a directory with all below it, to a user and a group; how many had another owner. No link is followed.

    What is someone's already is left as it is, so that a second time only looks. Mounts below are not entered.
    """
    top = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(top)
        changed = _give(top, "", status, uid, gid)
        if not stat.S_ISDIR(status.st_mode):
            return changed
        stack = [os.open(f"/proc/self/fd/{top}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    finally:
        os.close(top)
    device = status.st_dev
    try:
        while stack:
            directory = stack.pop()
            try:
                for name in os.listdir(directory):
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    if status.st_dev != device:
                        continue
                    changed += _give(directory, name, status, uid, gid)
                    if stat.S_ISDIR(status.st_mode):
                        stack.append(os.open(name, _DIRECTORY, dir_fd=directory))
            finally:
                os.close(directory)
    finally:
        for directory in stack:
            os.close(directory)
    return changed


def _give(directory: int, name: str, status: os.stat_result, uid: int, gid: int) -> int:
    if (status.st_uid, status.st_gid) == (uid, gid):
        return 0
    if name:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    else:
        os.chown(f"/proc/self/fd/{directory}", uid, gid)
    return 1


def size_of_content(directory: int) -> int:
    """Bytes of the files below an open directory; one with several names counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    todo = [os.dup(directory)]
    try:
        while todo:
            fd = todo.pop()
            try:
                for name in os.listdir(fd):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    key = (status.st_dev, status.st_ino)
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(os.open(name, _DIRECTORY, dir_fd=fd))
                    elif status.st_nlink == 1 or key not in seen:
                        seen.add(key)
                        total += status.st_size
            finally:
                os.close(fd)
    finally:
        for fd in todo:
            os.close(fd)
    return total
