"""Reading a container's log: conmon's k8s-file, and journald where it runs.

A line of the file is ``TIME STREAM TAG TEXT``: an RFC 3339 time, stdout or stderr, F for a whole line or P for a part of one
that goes on in the next. With a size limit conmon replaces the file by a new one; who follows reads the old one to its end first.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument, NotFound, Unsupported
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
    except InvalidArgument:
        return None
    return Line(time=when, stamp=stamp, is_error=words[1] == b"stderr", text=words[3], whole=words[2] != b"P")


class LogFile:
    """A k8s-file being read, from a place on."""

    def __init__(self, path: str, *, tail: int | None = None, since: int | None = None) -> None:
        """``tail``: begin with the last so many lines. ``since``: at the first line of this time or later, nanoseconds since 1970.

        Without both it is read from the beginning; with both from the later of the two places.
        """
        self.path = path
        self._rest = b""                     # the beginning of a line whose end has not come
        self._left = b""                     # the end of a file that was replaced
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound("the container's log does not exist (yet)") from error
        place = tail_offset(self._fd, tail) if tail is not None and tail >= 0 else 0
        if since is not None:
            place = max(place, since_offset(self._fd, since))
        os.lseek(self._fd, place, os.SEEK_SET)

    def lines(self) -> Iterator[Line]:
        """The lines from here to the end that the log has now; called again, those that came meanwhile."""
        if self._left:
            left, self._left = self._left, b""
            yield from self._parsed(left)
            self._rest = b""                 # conmon begins a file with a line of its own
        while data := os.read(self._fd, _BLOCK):
            yield from self._parsed(data)

    def _parsed(self, data: bytes) -> Iterator[Line]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for text in whole:
            line = parse(text)
            if line is not None:
                yield line

    def was_replaced(self) -> bool:
        """Whether conmon has begun a new file; then :meth:`lines` goes on with the end of the old one and the new one."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        if os.path.samestat(now, os.fstat(self._fd)):
            return False
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        # Only now is it certain that nobody writes to the old file any more.
        while data := os.read(self._fd, _BLOCK):
            self._left += data
        if not self._left:
            self._rest = b""
        os.close(self._fd)
        self._fd = fd
        return True

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def tail_offset(fd: int, count: int) -> int:
    """Where the last ``count`` whole lines begin, found from the end; parts of one line count as one with their end."""
    start = end = os.fstat(fd).st_size
    if count == 0:
        return end
    carried = b""                            # the end of a line that begins in the block before
    while start > 0:
        step = min(_BLOCK, start)
        start -= step
        lines = (os.pread(fd, step, start) + carried).split(b"\n")
        carried = lines[0]
        for text in reversed(lines[1:] if start > 0 else lines):
            if _is_whole(text):
                if count == 0:
                    return end
                count -= 1
            end -= len(text) + 1
        end = max(end, 0)
    return 0


def _is_whole(text: bytes) -> bool:
    words = text.split(b" ", 3)
    return len(words) == 4 and words[2] == b"F"


def since_offset(fd: int, since: int) -> int:
    """A place before which every line is older than ``since`` and little before the first that is not: lines are in order."""
    low, high = 0, os.fstat(fd).st_size
    while high - low > _BLOCK:
        middle = (low + high) // 2
        found = _line_after(fd, middle)
        if found is None or found[0] >= high:
            high = middle
        elif found[1] < since:
            low = found[0]
        else:
            high = middle
    return low


def _line_after(fd: int, place: int) -> tuple[int, int] | None:
    """Where the first line after a place begins, and its time."""
    data = os.pread(fd, _BLOCK, place)
    begin = 0
    while (newline := data.find(b"\n", begin)) >= 0:
        begin = newline + 1
        line = parse(data[begin:].partition(b"\n")[0])
        if line is not None:
            return place + begin, line.time
    return None


# --- journald ---------------------------------------------------------------------------------------------------------


def journal_lines(config: ContainerConfig, *, tail: int | None = None) -> Iterator[Line]:
    """The container's entries in the journal."""
    from podling.linux import process

    argv = ["journalctl", "--quiet", "--output=json", "--no-pager", f"CONTAINER_ID_FULL={config.id}"]
    if tail is not None and tail >= 0:
        argv.append(f"--lines={tail}")
    for text in process.run(argv).stdout.splitlines():
        entry = jsontext.loads(text)
        message = entry.get("MESSAGE", "")
        data = (bytes(message) if isinstance(message, list) else str(message).encode()).removesuffix(b"\n")     # conmon 2.1.12 keeps it
        when = int(entry.get("__REALTIME_TIMESTAMP", 0)) * 1000
        yield Line(time=when, stamp=units.format_rfc3339(when, local=True), is_error=entry.get("PRIORITY") == "3", text=data,
                   whole=entry.get("CONTAINER_PARTIAL_MESSAGE") != "true")
