"""What a command is given: the engine (opened when first used), the program's options, and its two outputs."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine.engine import Engine
    from podling.engine.globals import GlobalOptions

_FULL = 1 << 16


class Writer:
    """Buffered text (or bytes) to a file descriptor; file names that are not UTF-8 go through unchanged.

    On a terminal every line appears at once. BrokenPipeError is the caller's to handle: :func:`podling.cli.main.main`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._parts: list[bytes] = []
        self._size = 0
        self._tty: bool | None = None

    @property
    def is_tty(self) -> bool:
        """Whether the output is a terminal."""
        if self._tty is None:
            self._tty = os.isatty(self.fd)
        return self._tty

    def write(self, text: str) -> None:
        """Write text as it is."""
        self.write_bytes(text.encode("utf-8", "surrogateescape"))

    def line(self, text: str = "") -> None:
        """Write text and a newline."""
        self.write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _FULL or (self.is_tty and b"\n" in data):
            self.flush()

    def flush(self) -> None:
        """Hand everything to the kernel."""
        data = memoryview(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        while data:
            data = data[os.write(self.fd, data):]


class Context:
    """The surroundings of one command."""

    def __init__(self, said: GlobalOptions, *, program: str = "podling", path: str = "",
                 out: Writer | None = None, err: Writer | None = None, argv: tuple[str, ...] = ()) -> None:
        self.globals = said
        self.program = program
        self.path = path                         # the command's words, "container list"
        self.argv = argv                         # the whole command line, for a container's CreateCommand
        self.out = out or Writer(1)
        self.err = err or Writer(2)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine; opened at first use, so that help, completion and usage errors cost nothing."""
        if self._engine is None:
            from podling.engine.engine import open_engine

            self._engine = open_engine(self.globals)
        return self._engine

    def note(self, text: str) -> None:
        """A line on standard error, at once and after what was written to standard output so far."""
        self.out.flush()
        self.err.line(text)
        self.err.flush()

    def close(self) -> None:
        """Close what was opened."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def options(self, said: dict[str, Any], *names: str) -> dict[str, Any]:
        """Those of the parsed options that are named here and were said, as keywords for an options record."""
        return {name: said[name] for name in names if name in said}
