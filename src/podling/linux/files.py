"""Files: written whole or not at all, opened beneath a root, removed whatever is in the way.

Errors are OSError with the path.
"""

from __future__ import annotations

import errno
import os

from podling.errors import Corrupt, InUse
from podling.linux import mounts, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_LINKS = 40  # as the kernel
_RACES = 64


def unique_name() -> str:
    """16 hex digits that nobody else comes up with."""
    return os.urandom(8).hex()


def is_open(fd: int) -> bool:
    """Whether this process has such a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# --- writing and reading ----------------------------------------------------------------------------------------------


def write_atomic(path: str, data: bytes, mode: int = 0o600, sync: bool = False) -> None:
    """Put a file there with this content and exactly this mode; readers see the old file or the new one.

    ``sync``: it also survives a power cut. A crash leaves at most a file ``.NAME.<16 hex digits>.tmp`` beside it.
    """
    directory, name = os.path.split(path)
    aside_path = os.path.join(directory, f".{name}.{unique_name()}.tmp")
    fd = os.open(aside_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            os.fchmod(fd, mode)  # whatever the umask says
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(aside_path, path)
    except BaseException:
        os.unlink(aside_path)
        raise
    if sync:
        sync_directory(directory or ".")


class Aside:
    """A new file under a name of its own until it is whole: ``with Aside(aside) as new: ...; new.become(path)``.

    ``fd`` reads and writes it. Without ``become`` nothing is left of it. OSError where it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._whole = False

    def become(self, path: str) -> None:
        """The file gets its name, whatever had it before."""
        os.rename(self.path, path)
        self._whole = True

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if not self._whole:
            os.unlink(self.path)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_bytes(path: str, limit: int = 16 << 20) -> bytes:
    """A file's content; Corrupt where it is longer than ``limit`` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_descriptor(fd, path, limit)
    finally:
        os.close(fd)


def read_descriptor(fd: int, path: str, limit: int = 16 << 20) -> bytes:
    """The rest of an open file; Corrupt, naming ``path``, where it is longer than ``limit`` bytes."""
    parts = []
    size = 0
    while part := os.read(fd, 1 << 16):
        size += len(part)
        if size > limit:
            raise Corrupt(f"{path}: longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def read_text(path: str, limit: int = 16 << 20) -> str:
    """A file's content as UTF-8 text; other bytes survive as surrogates, so that writing it gives the same file."""
    return read_bytes(path, limit).decode("utf-8", "surrogateescape")


def make_directories(path: str, mode: int = 0o755) -> None:
    """Make a directory and what is missing above it, each with exactly this mode; what is there is left as it is."""
    try:
        os.mkdir(path, mode)
    except FileNotFoundError:
        parent = os.path.dirname(path.rstrip("/"))
        if not parent or parent == path:
            raise
        make_directories(parent, mode)
        make_directories(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        os.chmod(path, mode)  # whatever the umask says


def aside(path: str, rubbish_dir: str) -> str | None:
    """Rename something to a unique name in ``rubbish_dir``, on the same file system: its new path, or None if it is gone.

    The one instant at which something large disappears, before it is deleted in peace.
    """
    target = os.path.join(rubbish_dir, unique_name())
    try:
        os.rename(path, target)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise  # it is rubbish_dir that does not exist
        return None
    return target


# --- beneath a root ---------------------------------------------------------------------------------------------------


def open_beneath(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as if the directory ``root_fd`` were "/": links and ".." never lead out of it.

    ``flags`` and ``mode`` as for os.open; O_CLOEXEC is added. A link at the end is followed unless O_NOFOLLOW is given.
    """
    if syscalls.loaded():
        for _ in range(_RACES):
            try:
                return syscalls.openat2(root_fd, path, flags, mode if flags & os.O_CREAT else 0, syscalls.RESOLVE_IN_ROOT)
            except BlockingIOError:  # EAGAIN: something beneath was renamed
                continue
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM):
                    raise
                break
    return _walk_open(root_fd, path, flags, mode)


def _walk_open(root_fd: int, path: str, flags: int, mode: int) -> int:
    """The same by opening one name at a time, without following any link: the links' texts are read and walked as well.

    It needs no C function, which would take longer to load. ".." goes back to a directory that was opened before, so
    that a directory moved out of the root meanwhile leads nowhere.
    """
    new = flags & os.O_CREAT and flags & os.O_EXCL
    walk = _Walk(root_fd, follow_last=not (flags & os.O_NOFOLLOW or new))
    try:
        name = walk.to(path)
        opened = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=walk.directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        walk.close()
    return opened


class _Walk:
    """A way through directories: descriptors from the root to where it stands, and the names between them."""

    def __init__(self, root_fd: int, *, follow_last: bool = True, missing: bool = False) -> None:
        self.root_fd = root_fd
        self.follow_last = follow_last
        self.missing = missing                # go on by name where a part does not exist
        self.fds: list[int] = []
        self.names: list[str] = []
        self.links = 0

    @property
    def directory(self) -> int:
        return self.fds[-1] if self.fds else self.root_fd

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    def to(self, path: str) -> str:
        """Go to the directory of the last part of ``path``, links resolved, and return that part's name ("." for the root)."""
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        todo = _parts(path)
        while todo:
            part = todo.pop()
            if part == "..":
                self._up()
            elif part != ".":
                text = self._link(part) if todo or self.follow_last else None
                if text is not None:
                    todo += self._follow(text)
                elif todo:
                    self._down(part)
                else:
                    return part
        return "."

    def _follow(self, text: str) -> list[str]:
        self.links += 1
        if self.links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if text.startswith("/"):
            self._to_root()
        return _parts(text)

    def _up(self) -> None:
        if self.names:
            self.names.pop()
        if len(self.fds) > len(self.names):
            os.close(self.fds.pop())

    def _to_root(self) -> None:
        self.close()
        self.names.clear()

    def _link(self, name: str) -> str | None:
        """The text of a symbolic link, None if it is something else or not there."""
        if len(self.fds) < len(self.names):
            return None  # below a part that does not exist
        try:
            return os.readlink(name, dir_fd=self.directory)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise

    def _down(self, name: str) -> None:
        if len(self.fds) == len(self.names):
            try:
                self.fds.append(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory))
            except (FileNotFoundError, NotADirectoryError):
                if not self.missing:
                    raise
        self.names.append(name)


def _parts(path: str) -> list[str]:
    """The names of a path, the first one last; a slash at the end counts as "."."""
    parts = [part for part in path.split("/") if part]
    if path.endswith("/") and parts:
        parts.append(".")
    return parts[::-1]


def resolve_in_root(root: str, path: str) -> str:
    """The host path of ``path`` inside ``root``, links resolved as if ``root`` were "/"; missing parts are kept as they are.

    It is true at this moment only: where others may change the tree meanwhile, use :func:`open_beneath`.
    """
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    walk = _Walk(fd, missing=True)
    try:
        name = walk.to(path or "/")
        names = walk.names if name == "." else [*walk.names, name]
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.path.join(root, path.lstrip("/"))) from None
    finally:
        walk.close()
        os.close(fd)
    return os.path.join(root, *names) if names else root


# --- removing ---------------------------------------------------------------------------------------------------------

_DEEPEST = 100  # directories that are open at once while removing
_ATTEMPTS = 8
_IMMUTABLE = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL


def remove_tree(path: str) -> bool:
    """Delete a file or a directory with all it holds; False if it did not exist.

    Links are not followed and nothing mounted inside is touched: then InUse names the mount. Unreadable directories and the
    immutable and append-only attributes are overcome, depth is not limited, another process may remove the same tree.
    """
    parent_path, name = os.path.split(path.rstrip("/"))
    try:
        parent = os.open(parent_path or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        if not _is_directory(parent, name):
            return _unlink(parent, name)
        mounted = mounts.beneath(path)
        if mounted:
            raise InUse(f"removing {path}: {mounted[0]} is mounted")
        return _Removal(parent, name).run()
    except OSError as error:
        where = path if error.filename in (None, name) else os.path.join(path, "...", str(error.filename))
        raise OSError(error.errno, error.strerror, where) from None
    finally:
        os.close(parent)


def _is_directory(parent: int, name: str) -> bool:
    try:
        found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    os.close(found)
    return True


class _Removal:
    """A directory being removed: the open directories from it downwards, each with its name and its remaining directories.

    Where the tree is deeper than descriptors should be spent on, what lies below is moved up and removed from there.
    """

    def __init__(self, parent: int, name: str) -> None:
        self.parent = parent
        self.name = name
        self.levels: list[tuple[int, str, list[str]]] = []

    def run(self) -> bool:
        try:
            if not self._enter(self.parent, self.name):
                return False
            while self.levels:
                fd, _, todo = self.levels[-1]
                if not todo:
                    self._leave()
                elif len(self.levels) < _DEEPEST:
                    self._enter(fd, todo.pop())
                else:
                    self._lift(fd, todo.pop())
        finally:
            for fd, _, _ in self.levels:
                os.close(fd)
        return True

    def _enter(self, parent: int, name: str) -> bool:
        fd = _open_directory(parent, name)
        if fd >= 0:
            self.levels.append((fd, name, []))
            _delete_files(fd, self.levels[-1][2])
        return fd >= 0

    def _leave(self) -> None:
        """Remove the innermost directory; where something has appeared in it meanwhile, that comes first."""
        fd, name, todo = self.levels[-1]
        parent = self.levels[-2][0] if len(self.levels) > 1 else self.parent
        for _ in range(_ATTEMPTS):
            try:
                _forcibly(os.rmdir, parent, name)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _delete_files(fd, todo)
                if todo:
                    return
            else:
                break
        else:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
        os.close(fd)
        self.levels.pop()

    def _lift(self, fd: int, name: str) -> None:
        top, _, todo = self.levels[0]
        lifted = unique_name()
        try:
            os.rename(name, lifted, src_dir_fd=fd, dst_dir_fd=top)
        except FileNotFoundError:
            return
        except PermissionError:
            _clear_way(fd, name)
            os.rename(name, lifted, src_dir_fd=fd, dst_dir_fd=top)
        todo.append(lifted)


def _open_directory(parent: int, name: str) -> int:
    """A descriptor to list a directory with, -1 if it is gone or something else by now."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except PermissionError:
        _clear_way(parent, name)
        return os.open(name, flags, dir_fd=parent)


def _delete_files(fd: int, directories: list[str]) -> None:
    """Delete all that is no directory; the names of the directories are added to the list."""
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                _unlink(fd, entry.name)


def _unlink(parent: int, name: str) -> bool:
    return _forcibly(os.unlink, parent, name)


def _forcibly(action: Callable[..., None], parent: int, name: str) -> bool:
    """unlink or rmdir, a second time with what forbids it out of the way; False if it is gone."""
    try:
        action(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    except PermissionError:
        _clear_way(parent, name)
        action(name, dir_fd=parent)
    return True


def _clear_way(parent: int, name: str) -> None:
    """Take off what keeps a name from being removed: attributes and modes of itself and of its directory."""
    for where in (".", name):
        try:
            found = os.stat(where, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            continue
        kind = found.st_mode & 0o170000
        if kind == 0o040000:
            _clear_attributes(parent, where)
            if found.st_mode & 0o700 != 0o700:
                try:
                    os.chmod(where, 0o700, dir_fd=parent)
                except PermissionError:
                    continue  # not ours; the attempt that follows reports it
            _clear_attributes(parent, where)
        elif kind == 0o100000:
            _clear_attributes(parent, where)


def _clear_attributes(parent: int, name: str) -> None:
    import fcntl
    import sys

    word = 8 if sys.maxsize > 2**32 else 4
    get_flags, set_flags = 0x80000000 | word << 16 | 0x6601, 0x40000000 | word << 16 | 0x6602  # FS_IOC_GETFLAGS, SETFLAGS
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return  # the attempt that follows reports why
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, get_flags, bytes(word))[:4], sys.byteorder)
        if flags & _IMMUTABLE:
            fcntl.ioctl(fd, set_flags, (flags & ~_IMMUTABLE).to_bytes(word, sys.byteorder))
    except OSError:
        return  # a file system without attributes, or no right to change them
    finally:
        os.close(fd)
