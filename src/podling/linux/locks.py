"""Locks between processes: one file a lock, freed by the kernel when its holder dies.

    with Lock(path).exclusive():
        ...

Each use opens the file anew, so threads exclude each other too, and a second use by the same thread waits for ever. A lock
file may be removed by whoever holds it exclusively: waiters notice and start again with the file that is there then.
"""

from __future__ import annotations

import fcntl
import os
import time

from podling.errors import InUse, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_SHORTEST_PAUSE = 0.001  # seconds between attempts, doubling up to:
_LONGEST_PAUSE = 0.05


class Lock:
    """A lock on a file, made when it is first taken; its directory must exist."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def exclusive(self, timeout: float | None = None) -> Held:
        """``with lock.exclusive():`` nobody else holds it; InUse, naming the holder, after ``timeout`` seconds."""
        return Held(self.path, fcntl.LOCK_EX, timeout)

    def shared(self, timeout: float | None = None) -> Held:
        """``with lock.shared():`` nobody holds it exclusively."""
        return Held(self.path, fcntl.LOCK_SH, timeout)

    def try_exclusive(self) -> bool:
        """Take the lock if it is free, until :meth:`release`."""
        if self._fd >= 0:
            return False
        self._fd = _acquire(self.path, fcntl.LOCK_EX, 0.0)
        return self._fd >= 0

    def release(self, *, remove: bool = False) -> None:
        """Let go what :meth:`try_exclusive` took; ``remove``: its file goes with what it protected."""
        if self._fd >= 0:
            if remove:
                try:
                    os.unlink(self.path)
                except FileNotFoundError:
                    pass  # with its whole directory
            os.close(self._fd)
            self._fd = -1


class Held:
    """A lock while it is held; ``remove`` deletes its file at the end (with what it protects)."""

    def __init__(self, path: str, kind: int, timeout: float | None) -> None:
        self.path = path
        self._kind = kind
        self._timeout = timeout
        self._fd = -1
        self._remove = False

    def remove(self) -> None:
        """Delete the lock's file when it is let go; only for an exclusive one."""
        if self._kind != fcntl.LOCK_EX:
            raise ValueError("a shared lock's file cannot be removed")
        self._remove = True

    def __enter__(self) -> Held:
        self._fd = _acquire(self.path, self._kind, self._timeout)
        if self._fd < 0:
            raise _busy(self.path, self._timeout or 0.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._remove:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # with its whole directory
        os.close(self._fd)
        self._fd = -1


def _acquire(path: str, kind: int, timeout: float | None) -> int:
    """A descriptor that holds the lock, -1 if it was not free in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PodlingError(f"opening lock {path}") from error
        held = False
        try:
            if not _flock(fd, kind, deadline):
                return -1
            held = _is_same_file(fd, path)  # it may have been removed, and made anew, while we waited
            if held:
                return fd
        finally:
            if not held:
                os.close(fd)


def _flock(fd: int, kind: int, deadline: float | None) -> bool:
    if deadline is None:
        fcntl.flock(fd, kind)
        return True
    pause = _SHORTEST_PAUSE
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            return True


def _is_same_file(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


def _busy(path: str, timeout: float) -> InUse:
    found = holders(path)
    by = " by " + ", ".join(f"process {pid} ({command})" if command else f"process {pid}" for pid, command in found)
    hint = f"See 'ps {found[0][0]}'; the lock is free as soon as that process ends" if found else None
    return InUse(f"{path} is locked{by if found else ''} for more than {timeout:g} seconds", hint=hint)


def holders(path: str) -> list[tuple[int, str]]:
    """Who holds a lock: (pid, command line), read off /proc/locks; empty where the kernel does not tell."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    return [(pid, _command(pid)) for pid in holding_pids(text, inode)]


def holding_pids(locks: str, inode: int) -> list[int]:
    """The pids in a text of /proc/locks that hold a flock on this inode.

    The device is not compared: on btrfs and overlay it differs from what stat(2) says.
    """
    found = []
    for line in locks.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode) and int(words[4]) > 0:
            found.append(int(words[4]))
    return found


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(400)
    except OSError:
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace").strip()[:120]
