"""Processes that serve a container's network from outside: slirp4netns, pasta, our forwarder of ports.

Each has a record, a file ``<runroot>/networks/<what>-<id>`` with boot id, pid and start time, so that any later podling finds and ends
exactly this process. Those that can are also told of the container's end by the kernel: they read a named pipe whose far end only
conmon holds (the *lifeline*), which hangs up when conmon ends, however it does.
"""

from __future__ import annotations

import os
import select

from podling import log
from podling.errors import PodlingError
from podling.linux import files, pids, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_END_SECONDS = 5.0


class Lifeline:
    """The two ends of a container's named pipe: ``near`` for processes that must end with it, ``far`` for its conmon alone.

    Where conmon holds the far end already, another near end is all that is opened.
    """

    def __init__(self, container_id: str, runroot: str, *, running: bool = False) -> None:
        path = _lifeline(container_id, runroot)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
        self.near = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.far = -1
        if not running:
            self.far = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of our ends; idempotent."""
        for fd in (self.near, self.far):
            if fd >= 0:
                os.close(fd)
        self.near = self.far = -1


def _lifeline(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/alive-{container_id}"


def remove_lifeline(container_id: str, runroot: str) -> None:
    """Remove the pipe's name; idempotent."""
    try:
        os.unlink(_lifeline(container_id, runroot))
    except FileNotFoundError:
        return


def remember(record: str, pid: int) -> None:
    """Write down which process it is."""
    os.makedirs(os.path.dirname(record), 0o700, exist_ok=True)
    files.write_atomic(record, f"{pids.boot_id()} {pid} {pids.start_time(pid)}".encode())


def find(record: str) -> tuple[int, int] | None:
    """(pid, start time) of the process that a record names, None where it has ended."""
    try:
        boot, pid, start = files.read_bytes(record, 1 << 10).decode().split()
    except FileNotFoundError:
        return None
    except ValueError:
        log.debug(f"{record} is not a record of a process")
        return None
    if boot != pids.boot_id() or not pids.is_alive(int(pid), int(start)):
        return None
    return int(pid), int(start)


def end(record: str) -> None:
    """End the process that a record names, and forget it; idempotent."""
    found = find(record)
    if found is not None:
        pids.kill(*found, process.SIGKILL)         # none of them has anything to tidy up
        pids.wait_gone(*found, _END_SECONDS)
        try:
            os.waitpid(found[0], os.WNOHANG)          # ours, where this very process started it
        except ChildProcessError:
            pass
    try:
        os.unlink(record)
    except FileNotFoundError:
        return


def wait_ready(child: process.Child, ready: int, what: str, seconds: float) -> bytes:
    """What the program writes to the descriptor ``ready``, or PodlingError with its last words if it ends or takes too long."""
    answer, words = b"", b""
    streams = [fd for fd in (ready, child.stderr) if fd >= 0]
    poll = select.poll()
    for fd in streams:
        poll.register(fd, select.POLLIN)
    while ready in streams and not answer:
        events = poll.poll(seconds * 1000)
        if not events:
            raise PodlingError(f"{what} failed: timed out after {seconds:.0f} s")
        for fd, _ in events:
            data = os.read(fd, 1 << 16)
            if fd == ready:
                answer += data
            else:
                words += data
            if not data:
                poll.unregister(fd)
                streams.remove(fd)
    if not answer:
        words += b"".join(_rest(child.stderr)) if child.stderr in streams else b""
        raise PodlingError(f"{what} failed: {words.decode(errors='replace').strip() or 'it ended without a word'}")
    return answer


def _rest(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, 1 << 16):
        yield data
