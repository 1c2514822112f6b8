"""Directories beneath one root, opened name by name without ever following a link, and kept open while they are used."""

from __future__ import annotations

import errno
import os

_MOST_OPEN = 128
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Descriptors of directories by their path (bytes, clean, relative to the root; b"" is the root itself).

    A descriptor is good until the next call, because only so many are kept open.
    """

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self._open: dict[bytes, int] = {b"": root_fd}

    def fd(self, path: bytes) -> int:
        """The descriptor of a directory. NotADirectoryError, also for links, or FileNotFoundError name the part they met."""
        found = self._open.get(path)
        return self._walk(path) if found is None else found

    def _walk(self, path: bytes) -> int:
        """From the deepest directory that is open already."""
        todo = [path]
        while True:
            parent = todo[-1].rpartition(b"/")[0]
            fd = self._open.get(parent)
            if fd is not None:
                break
            todo.append(parent)
        while todo:
            part = todo.pop()
            try:
                fd = os.open(part.rpartition(b"/")[2], _FLAGS, dir_fd=fd)
            except OSError as error:
                number = errno.ENOTDIR if error.errno == errno.ELOOP else error.errno or 0
                raise OSError(number, os.strerror(number), part) from None
            self.keep(part, fd)
        return fd

    def keep(self, path: bytes, fd: int) -> None:
        """Own a descriptor from now on; the one that was opened first is closed for it where there are too many."""
        self._open[path] = fd
        if len(self._open) > _MOST_OPEN:
            oldest = next(old for old in self._open if old not in (b"", path))
            os.close(self._open.pop(oldest))

    def forget(self, path: bytes) -> None:
        """Close what is open at and below a path, because the directory there goes away."""
        below = path + b"/"
        for known in [known for known in self._open if known == path or known.startswith(below)]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Close all descriptors but the root's."""
        for path, fd in self._open.items():
            if path:
                os.close(fd)
        self._open = {b"": self.root_fd}
