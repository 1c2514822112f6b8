"""Recognising processes by pid and start time, and waiting for and signalling those that may be anybody's children.

A pid alone names no process, because the kernel uses pids again: everything stored is a pair of pid and start time.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` itself imports enum (3 ms)


def boot_id() -> str:
    """The id of the running boot; another one means that no process of before is left."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is none with this pid."""
    stat = _stat(pid)
    return int(stat[19]) if stat else 0


def is_alive(pid: int, start: int) -> bool:
    """Whether the process that started at ``start`` still runs; a zombie does not."""
    stat = _stat(pid)
    return stat is not None and int(stat[19]) == start and _runs(stat)


def _runs(stat: list[bytes]) -> bool:
    """By state and number of threads: a first thread that ended before the others looks like a zombie, and is none."""
    return stat[0] not in (b"Z", b"X", b"x") or int(stat[17]) > 1


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the state on (number 3 in proc(5)), None where there is no such process."""
    if pid <= 0:
        return None
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    return text[text.rindex(b")") + 2:].split()


def pidfd(pid: int) -> int:
    """A descriptor of a process, readable once it has ended; OSError (ESRCH) if there is none."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"process {pid}") from error


def _pidfd_of(pid: int, start: int) -> int:
    """A descriptor of exactly the process with this start time, -1 if it is gone."""
    try:
        fd = os.pidfd_open(pid) if pid > 0 else -1
    except ProcessLookupError:
        return -1
    if fd >= 0 and not is_alive(pid, start):  # looked at after the descriptor was opened: the pid can no more change hands
        os.close(fd)
        return -1
    return fd


def wait_gone(pid: int, start: int, timeout: float | None = None) -> bool:
    """Wait until a process (anybody's child) has ended; False if it still runs after ``timeout`` seconds."""
    fd = _pidfd_of(pid, start)
    if fd < 0:
        return True
    try:
        return ends_within(fd, timeout)
    finally:
        os.close(fd)


def kill(pid: int, start: int, signal: int) -> bool:
    """Send a signal to exactly this process, never to one that has got its pid; False if it is gone."""
    fd = _pidfd_of(pid, start)
    if fd < 0:
        return False
    try:
        _signal.pidfd_send_signal(fd, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def descendants(pid: int) -> list[tuple[int, int]]:
    """(pid, start time) of the processes that descend from one, parents first; those whose parent ended are not found."""
    found: list[tuple[int, int]] = []
    todo = [pid]
    while todo:
        parent = todo.pop(0)
        try:
            with open(f"/proc/{parent}/task/{parent}/children", "rb") as file:
                children = [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [(child, start_time(child)) for child in children]
        todo += children
    return found


def wait_session_gone(session: int, timeout: float) -> bool:
    """Wait until the processes of a session (known by its first one's pid, which may have ended) have ended; False if some run on."""
    deadline = time.monotonic() + timeout
    while any(stat is not None and int(stat[3]) == session and _runs(stat)
              for stat in (_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def takes_signal(pid: int, signal: int) -> bool:
    """Whether a process handles the signal, or has it blocked to read it by sigwait(3) or signalfd(2); True if unsure."""
    bit = 1 << (signal - 1)
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            fields = dict(line.split(b":\t", 1) for line in file if line.startswith((b"SigCgt:", b"SigBlk:", b"SigIgn:")))
    except (FileNotFoundError, ProcessLookupError):
        return True
    return not fields or any(int(mask, 16) & bit for mask in fields.values())


def ends_within(fd: int, timeout: float | None) -> bool:
    """Whether the process of a pidfd ends within ``timeout`` seconds (None: wait for it)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
