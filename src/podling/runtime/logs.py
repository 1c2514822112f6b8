"""Reading a container's log: conmon's k8s-file, and journald where it runs.

A line of the file is ``TIME STREAM TAG TEXT``: an RFC 3339 time, stdout or stderr, F for a whole line or P for a part of one
that goes on in the next. With a size limit conmon replaces the file by a new one; who follows reads the old one to its end first.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import NotFound, Unsupported
from podling.linux import process
from podling.record import Record
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.model import ContainerConfig

_BLOCK = 1 << 16


class Line(Record):
    """What a container wrote: ``time`` in nanoseconds and as it stands in the log, stream, text, whether its line is whole."""

    time: int
    stamp: str
    is_error: bool
    text: bytes
    whole: bool = True


def check_readable(config: ContainerConfig) -> None:
    """Unsupported, in Podman's words, for a driver whose output cannot be read."""
    if config.log.driver in ("none", "passthrough"):
        raise Unsupported(f"this container is using the '{config.log.driver}' log driver, cannot read logs: this container is "
                          "not logging output")


def parse(line: bytes) -> Line | None:
    """One line of a k8s-file; None where it is none (conmon was killed while it wrote)."""
    words = line.split(b" ", 3)
    if len(words) < 4 or words[1] not in (b"stdout", b"stderr"):
        return None
    stamp = words[0].decode("ascii", "replace")
    try:
        when = units.parse_rfc3339(stamp)
    except ValueError:
        return None
    return Line(time=when, stamp=stamp, is_error=words[1] == b"stderr", text=words[3], whole=words[2] != b"P")


class LogFile:
    """A k8s-file being read, from a place on."""

    def __init__(self, path: str, *, tail: int | None = None) -> None:
        """``tail``: begin with the last so many lines; None: at the beginning."""
        self.path = path
        self._rest = b""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound("the container's log does not exist (yet)") from error
        if tail is not None and tail >= 0:
            os.lseek(self._fd, _tail_offset(self._fd, tail), os.SEEK_SET)

    def lines(self) -> Iterator[Line]:
        """The lines from here to the end that the log has now; called again, those that came meanwhile."""
        while data := os.read(self._fd, _BLOCK):
            *whole, self._rest = (self._rest + data).split(b"\n")
            for text in whole:
                line = parse(text)
                if line is not None:
                    yield line

    def was_replaced(self) -> bool:
        """Whether the path leads to another file by now; then that one is read from its beginning."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        if os.path.samestat(now, os.fstat(self._fd)):
            return False
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd, self._rest = fd, b""
        return True

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _tail_offset(fd: int, count: int) -> int:
    """Where the last ``count`` whole lines begin, found from the end; parts of one line count as one."""
    end = os.fstat(fd).st_size
    if count == 0:
        return end
    start, text = end, b""
    while start > 0:
        step = min(_BLOCK, start)
        start -= step
        text = os.pread(fd, step, start) + text
        lines = text.split(b"\n")
        # The first piece may be cut; a text that ends in a newline has an empty last piece.
        whole = sum(1 for line in lines[1:] if b" F " in line[:64])
        if whole > count:
            break
    if start > 0:
        cut = text.index(b"\n") + 1
        start, text = start + cut, text[cut:]
    lines = text.split(b"\n")
    left, position = count, len(lines)
    while position > 0:
        line = lines[position - 1]
        if b" F " in line[:64]:
            if left == 0:
                break
            left -= 1
        position -= 1
    return start + sum(len(line) + 1 for line in lines[:position])


# --- journald ---------------------------------------------------------------------------------------------------------


def journal_lines(config: ContainerConfig, *, tail: int | None = None) -> Iterator[Line]:
    """The container's entries in the journal."""
    argv = ["journalctl", "--quiet", "--output=json", "--no-pager", f"CONTAINER_ID_FULL={config.id}"]
    if tail is not None and tail >= 0:
        argv.append(f"--lines={tail}")
    for text in process.run(argv).stdout.splitlines():
        entry = jsontext.loads(text)
        message = entry.get("MESSAGE", "")
        data = bytes(message) if isinstance(message, list) else str(message).encode()
        when = int(entry.get("__REALTIME_TIMESTAMP", 0)) * 1000
        yield Line(time=when, stamp=units.format_rfc3339(when, local=True), is_error=entry.get("PRIORITY") == "3", text=data,
                   whole=entry.get("CONTAINER_PARTIAL_MESSAGE") != "true")
