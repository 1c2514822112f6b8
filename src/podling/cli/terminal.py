"""The user's terminal: size, prompts, and the progress of downloads."""

from __future__ import annotations

import _thread
import os
import time

from podling.errors import InvalidArgument
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:

    from podling.cli.context import Writer

_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 38


def is_tty(fd: int) -> bool:
    """Whether the descriptor is a terminal."""
    return os.isatty(fd)


def size(fd: int) -> tuple[int, int]:
    """(rows, columns) of the terminal; (0, 0) where it has none."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return found.lines, found.columns


def read_line(fd: int = 0) -> str | None:
    """One line from the descriptor, without its newline; what is there at the end of the input otherwise, None for nothing."""
    data = bytearray()
    while True:
        byte = os.read(fd, 1)
        if byte == b"" and not data:
            return None
        if byte in (b"", b"\n"):
            return data.decode("utf-8", "surrogateescape").removesuffix("\r")
        data += byte


def ask(err: Writer, question: str, *, fd: int = 0) -> str:
    """The user's answer to a question; "" where nobody answers."""
    return _answer(err, question, fd) or ""


def confirm(err: Writer, question: str, *, fd: int = 0) -> bool:
    """Whether the user answers yes; the question should end in ``[y/N] ``. InvalidArgument where the input ends before an answer."""
    answer = _answer(err, question, fd)
    if answer is None:
        err.line()
        err.flush()
        raise InvalidArgument("reading the answer: EOF", hint="where nobody is there to answer, use --force")
    return answer.strip().lower() in ("y", "yes")


def _answer(err: Writer, question: str, fd: int) -> str | None:
    err.write(question)
    err.flush()
    return read_line(fd)


def ask_password(err: Writer, question: str, *, fd: int = 0) -> str:
    """The user's answer, not shown while it is typed; InvalidArgument where there is no terminal to type at."""
    import termios

    if not os.isatty(fd):
        raise InvalidArgument("could not read password: standard input is not a terminal",
                              hint="use --password-stdin to read the password from a pipe")
    err.write(question)
    err.flush()
    saved = termios.tcgetattr(fd)
    hidden = termios.tcgetattr(fd)
    hidden[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(fd, termios.TCSAFLUSH, hidden)
        return read_line(fd) or ""
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, saved)
        err.line()
        err.flush()


class _Bar:
    """One thing that is being copied."""

    __slots__ = ("done", "label", "result", "total")

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = total           # bytes; 0 if not known
        self.done = 0
        self.result = ""             # "done", "skipped: already exists"; "" while it goes on


class Progress:
    """How copying goes on: bars that are drawn anew on a terminal, otherwise one line when each thing begins.

    Safe to call from several threads. Everything goes to standard error, as in Podman.
    """

    def __init__(self, err: Writer, *, quiet: bool = False) -> None:
        self._err = err
        self._quiet = quiet
        self._bars: dict[str, _Bar] = {}
        self._drawn = 0              # lines of bars on the screen, above the cursor
        self._redrawn = 0.0
        self._lock = _thread.allocate_lock()

    def message(self, text: str) -> None:
        """A line of its own, above the bars."""
        with self._lock:
            if self._quiet:
                return
            self._erase()
            self._err.line(text)
            self._draw()
            self._err.flush()

    def begin(self, key: str, label: str, total: int = 0) -> None:
        """Something begins: ``Copying blob sha256:...``; ``total`` in bytes, 0 if not known."""
        with self._lock:
            if key in self._bars or self._quiet:
                return
            self._bars[key] = _Bar(label, total)
            if self._err.is_tty:
                self._redraw(force=True)
            else:
                self._err.line(label)
                self._err.flush()

    def advance(self, key: str, done: int, total: int | None = None) -> None:
        """So many bytes of it are done by now."""
        with self._lock:
            bar = self._bars.get(key)
            if bar is None:
                return
            bar.done = done
            bar.total = bar.total if total is None else total
            if self._err.is_tty:
                self._redraw(force=False)

    def end(self, key: str, result: str = "done") -> None:
        """It has ended, with this result."""
        with self._lock:
            bar = self._bars.get(key)
            if bar is None or bar.result:
                return
            bar.result = result
            if self._err.is_tty:
                self._redraw(force=True)

    def close(self) -> None:
        """Leave what is on the screen there, and forget the bars."""
        with self._lock:
            if self._err.is_tty and not self._quiet:
                self._redraw(force=True)
            self._bars.clear()
            self._drawn = 0

    def _redraw(self, *, force: bool) -> None:
        now = time.monotonic()
        if force or now - self._redrawn >= _REDRAW_SECONDS:
            self._redrawn = now
            self._erase()
            self._draw()
            self._err.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._err.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if not self._err.is_tty:
            return
        rows, columns = size(self._err.fd)
        self._settle()
        shown = list(self._bars.values())[:max(rows - 2, 1)]
        for bar in shown:
            self._err.line(bar_text(bar.label, bar.done, bar.total, bar.result)[:max(columns - 1, 20)])
        self._drawn = len(shown)

    def _settle(self) -> None:
        """Bars at the top that have ended become plain lines: they scroll away with the rest."""
        for key in list(self._bars):
            bar = self._bars[key]
            if not bar.result:
                return
            self._err.line(bar_text(bar.label, bar.done, bar.total, bar.result))
            del self._bars[key]


def bar_text(label: str, done: int, total: int, result: str = "") -> str:
    """The line of one bar."""
    if result:
        return f"{label} {result}"
    if total <= 0:
        return f"{label} [{'-' * _BAR_WIDTH}] {units.format_size_binary(done, digits=3)}"
    filled = min(_BAR_WIDTH, _BAR_WIDTH * done // total)
    bar = "=" * max(filled - 1, 0) + ">" * (filled > 0) + "-" * (_BAR_WIDTH - filled)
    return f"{label} [{bar}] {units.format_size_binary(done, digits=3)} / {units.format_size_binary(total, digits=3)}"
