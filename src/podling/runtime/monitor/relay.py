"""The standard streams of a program that runs in a container as our child.

A pipe or a socket of ours is handed over as it is. Everything else goes through a pipe that is copied here:

- a terminal, because a program in a container that holds the host's terminal can do things to it;
- a file or a device (``> out.txt``, ``/dev/null``), because the runtime gives the streams to the container's user, and the
  caller's file would belong to somebody else afterwards.

Without input the program gets a pipe that is at its end.
"""

from __future__ import annotations

import os
import select
import stat
import time

from podling.runtime.monitor import oci
from podling.runtime.streams import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_BLOCK = 1 << 16
_LONGEST_ERROR = 1 << 13
_HOLD = 0.05                                 # seconds; a runtime ends at once after an error
_ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Relay:
    """The three streams, and the copying of those that need it. ``log``: where the runtime writes its errors.

    The runtime writes an error to its standard error too, the first and last that it writes. What could be that is held back
    for a moment and left out if the runtime ends meanwhile with an error in its log: that one is raised.
    """

    def __init__(self, *, takes_input: bool, log: str) -> None:
        self._log = log
        self._ours: list[int] = []           # our ends of the pipes, closed at the end
        self._theirs: list[int] = []         # the program's ends, closed once it has them
        self._outputs: dict[int, Output] = {}
        self._source = self._input = -1
        self._to_write = b""
        self._held: tuple[Output, bytes, float] | None = None    # where to, what, until when
        self._is_fresh = True                # nothing was written yet
        self.for_program: tuple[int, int, int] = (-1, -1, -1)
        try:
            self.for_program = (self._stdin(takes_input), *self._stdout_and_stderr())
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _stdin(self, takes_input: bool) -> int:
        if takes_input and _can_be_given(0):
            return 0
        theirs, ours = self._pipe()
        if takes_input:
            os.set_blocking(ours, False)
            self._source, self._input = 0, ours
        else:
            self._close(ours)
        self._theirs.append(theirs)
        return theirs

    def _stdout_and_stderr(self) -> tuple[int, int]:
        if _can_be_given(1) and _same(1, 2):
            return 1, 2                      # both in one pipe: their order is kept
        return (1 if _can_be_given(1) else self._copied(1)), self._copied(2)

    def _copied(self, fd: int) -> int:
        read, write = self._pipe(ours_is_read=True)
        os.set_blocking(read, False)
        self._outputs[read] = Output(fd)
        self._theirs.append(write)
        return write

    def _pipe(self, *, ours_is_read: bool = False) -> tuple[int, int]:
        read, write = os.pipe()
        self._ours.append(read if ours_is_read else write)
        return read, write

    def _close(self, fd: int) -> None:
        self._ours.remove(fd)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for fd in (*self._ours, *self._theirs):
            os.close(fd)
        self._ours, self._theirs = [], []

    # --- copying ------------------------------------------------------------------------------------------------------

    def run(self, pid: int) -> None:
        """Copy until the program, a child of ours, has ended and all it wrote has been passed on."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []
        process = os.pidfd_open(pid)
        try:
            while True:
                ready = self._wait(process)
                if process not in ready:
                    self._release()
                self._move(ready)
                if process in ready and not any(output.pending for output in self._outputs.values()):
                    break
            self._drain()
        finally:
            os.close(process)

    def _wait(self, process: int) -> dict[int, int]:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        for read, output in self._outputs.items():
            if output.pending:
                poll.register(output.fd, select.POLLOUT)
            else:
                poll.register(read, select.POLLIN)
        if self._input >= 0:
            poll.register(self._input, select.POLLOUT if self._to_write else 0)
            if not self._to_write:
                poll.register(self._source, select.POLLIN)
        left = max(0.0, self._held[2] - time.monotonic()) * 1000 + 1 if self._held else None
        return dict(poll.poll(left))

    def _release(self) -> None:
        """Write what was held back, once it has waited long enough."""
        if self._held is not None and time.monotonic() >= self._held[2]:
            output, data, _ = self._held
            self._held = None
            output.put(data)

    def _move(self, ready: dict[int, int]) -> None:
        for read, output in list(self._outputs.items()):
            if output.pending and output.fd in ready:
                output.flush()
            elif read in ready and not output.pending and not self._take(read, output):
                del self._outputs[read]
        if self._input >= 0 and (self._input in ready or self._source in ready):
            self._feed(ready)

    def _take(self, read: int, output: Output) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(read, _BLOCK)
        except BlockingIOError:
            return True
        if data:
            self._put(output, data)
        return bool(data)

    def _put(self, output: Output, data: bytes) -> None:
        if self._is_fresh and output.fd == 2 and data.endswith(b"\n") and len(data) < _LONGEST_ERROR:
            self._held = (output, data, time.monotonic() + _HOLD)
        else:
            if self._held is not None:
                self._held[0].put_all(self._held[1])
                self._held = None
            output.put(data)
        self._is_fresh = False

    def _feed(self, ready: dict[int, int]) -> None:
        if ready.get(self._input, 0) & _ENDED:
            self._end_input()
            return
        if not self._to_write and self._source in ready:
            self._to_write = os.read(self._source, _BLOCK)
            if not self._to_write:
                self._end_input()
                return
        try:
            self._to_write = self._to_write[os.write(self._input, self._to_write):]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._end_input()

    def _end_input(self) -> None:
        self._close(self._input)
        self._input = -1
        self._to_write = b""

    def _drain(self) -> None:
        """The program is gone; what others that hold its pipes will write later is not waited for."""
        for read, output in self._outputs.items():
            while True:
                try:
                    data = os.read(read, _BLOCK)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._put(output, data)
                output.put_all(b"")
        if self._held is not None and not oci.logged_error(self._log):
            self._held[0].put_all(self._held[1])


def _can_be_given(fd: int) -> bool:
    """Whether it is a pipe without a name or a socket."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    if stat.S_ISFIFO(mode):
        return os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    return stat.S_ISSOCK(mode)


def _same(first: int, second: int) -> bool:
    try:
        return os.path.samestat(os.fstat(first), os.fstat(second))
    except OSError:
        return False
