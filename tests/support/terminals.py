"""A person at a terminal: a command of a world on a pseudo-terminal, typed to and read from."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tests.support.sandbox import World


class Terminal:
    """``with Terminal(world, "podling", "run", "-it", ...) as terminal: terminal.type("ls\\n"); terminal.expect("bin")``"""

    def __init__(self, world: World, *argv: str, rows: int = 24, columns: int = 80) -> None:
        self.ours, theirs = pty.openpty()
        self.text = ""
        self.size(rows, columns)
        try:
            self.process = world.spawn(*argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        finally:
            self._settings = termios.tcgetattr(theirs)
            os.close(theirs)

    def size(self, rows: int, columns: int) -> None:
        """Change the window's size, as its owner does with the mouse."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            os.kill(self.process.pid, signal.SIGWINCH)

    def until_raw(self, timeout: float = 10) -> Self:
        """Wait until the command takes each key at once; what is typed before is the terminal's."""
        deadline = time.monotonic() + timeout
        while termios.tcgetattr(self.ours)[3] & termios.ICANON:
            if time.monotonic() > deadline:
                pytest.fail(f"the terminal stays as it is; have {self.text!r}", pytrace=False)
            time.sleep(0.005)
        return self

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def expect(self, wanted: str, timeout: float = 10) -> str:
        """What came until ``wanted`` did; it is not seen again."""
        deadline = time.monotonic() + timeout
        while wanted not in self.text:
            self._read(deadline, wanted)
        found, _, self.text = self.text.partition(wanted)
        return found

    def _read(self, deadline: float, wanted: str) -> None:
        if not select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            pytest.fail(f"waited for {wanted!r}, have {self.text!r}", pytrace=False)
        try:
            data = os.read(self.ours, 65536)
        except OSError:
            data = b""
        if not data:
            pytest.fail(f"the terminal was left; waited for {wanted!r}, have {self.text!r}", pytrace=False)
        self.text += data.decode(errors="replace")

    def wait(self, timeout: float = 10) -> int:
        """The command's exit code, its last words read meanwhile."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                pytest.fail(f"does not end; have {self.text!r}", pytrace=False)
            if select.select([self.ours], [], [], 0.02)[0]:
                try:
                    self.text += os.read(self.ours, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.01)
        return self.process.returncode

    def is_cooked(self) -> bool:
        """Whether the terminal is as it was before the command."""
        return termios.tcgetattr(self.ours)[:4] == self._settings[:4]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
