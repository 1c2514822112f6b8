"""HTTP/1.1 as its client speaks it (RFC 9112): requests on a connection, one after the other, and the answers, read as they come.

What comes is not trusted: heads are bounded, and where a body ends is said in exactly one way, or the answer is refused.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    import ssl
    from collections.abc import Iterable, Mapping
else:
    import _socket  # what `socket` adds to it is not needed, and takes enum and selectors along

LONGEST_LINE = 1 << 16
MOST_LINES = 200                             # of a head, and of what follows a chunked body
_MOST_INTERIM = 20                           # answers of status 1xx before the real one
_BLOCK = 1 << 16                             # bytes that are received at once
_TOGETHER = 1 << 14                          # a body up to this long is sent in one packet with its head
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
_WITH_BODY = ("POST", "PUT", "PATCH")


class Malformed(Exception):
    """What came is no answer of HTTP/1.1."""


class EndedEarly(Malformed):
    """The connection was closed within an answer."""


def connect(host: str, port: int, seconds: float) -> _socket.socket:
    """A connection to the first address of a host that takes it; OSError (gaierror, TimeoutError) where none does."""
    failure: OSError | None = None
    name = host.encode() if host.isascii() else host     # a string is taken through the codec for IDNA, which is 1 ms
    for family, kind, protocol, _, address in _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM):
        made = _socket.socket(family, kind, protocol)
        try:
            made.settimeout(seconds)
            made.connect(address)
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure or OSError("its name has no address")


class Channel:
    """One connection. A request is sent, its answer read to the end; then the next."""

    def __init__(self, sock: _socket.socket | ssl.SSLSocket) -> None:
        self.sock = sock
        self._waiting = b""                  # what came and was not yet taken
        self._at = 0                         # how much of it was

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None) -> None:
        """Send a request; a body that is no bytes goes in chunks, as it is made. ValueError for what no request may hold."""
        if not (target.isascii() and target.isprintable()) or " " in target:
            raise ValueError(f"a URL has no blanks, control characters or letters beyond ASCII: {target[:100]!r}")
        said = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
        if isinstance(body, bytes):
            said.append(f"Content-Length: {len(body)}")
        elif body is not None:
            said.append("Transfer-Encoding: chunked")
        elif method in _WITH_BODY:
            said.append("Content-Length: 0")
        if any("\r" in line or "\n" in line for line in said):
            raise ValueError("a header has no line breaks")
        head = "\r\n".join([*said, "", ""]).encode("latin-1")
        if not isinstance(body, bytes) or len(body) <= _TOGETHER:
            self.sock.sendall(head + body if isinstance(body, bytes) else head)
        else:
            self.sock.sendall(head)
            self.sock.sendall(body)
        if body is not None and not isinstance(body, bytes):
            self._send_chunks(body)

    def _send_chunks(self, body: Iterable[bytes]) -> None:
        before = b""                         # the end of the chunk before
        for piece in body:
            if piece:
                self.sock.sendall(b"%s%x\r\n" % (before, len(piece)))
                self.sock.sendall(piece)
                before = b"\r\n"
        self.sock.sendall(before + b"0\r\n\r\n")

    def answer(self, method: str) -> Answer:
        """The answer to the request that was sent, its body unread. Malformed, OSError."""
        for _ in range(_MOST_INTERIM):
            status, is_persistent = self._status()
            headers = self._fields()
            if status >= 200:
                return Answer(self, method, status, headers, is_persistent=is_persistent)
        raise Malformed("the answer does not come to its point")

    def _status(self) -> tuple[int, bool]:
        """(the status, whether connections persist in this version unless something else is said)."""
        version, _, rest = self.line().partition(b" ")
        code = rest.lstrip()[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not (len(code) == 3 and code.isdigit() and rest.lstrip()[3:4] in (b"", b" ")):
            raise Malformed("what answers does not speak HTTP/1.1")
        return int(code), version == b"HTTP/1.1"

    def _fields(self) -> dict[str, list[str]]:
        """The header lines up to the empty one: names in lower case with their values in order."""
        found: dict[str, list[str]] = {}
        last: list[str] | None = None
        for _ in range(MOST_LINES):
            line = self.line()
            if not line:
                return found
            if line[:1] in (b" ", b"\t"):    # a value goes on, in a form that RFC 9112 has done away with
                if last is None:
                    raise Malformed("a header of the answer has no name")
                last[-1] += " " + line.strip().decode("latin-1")
                continue
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip() or b" " in name:
                raise Malformed("a header of the answer has no name")
            last = found.setdefault(name.decode("latin-1").lower(), [])
            last.append(value.strip().decode("latin-1"))
        raise Malformed(f"the answer's head has more than {MOST_LINES} lines")

    def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._waiting.find(b"\n", self._at)) < 0:
            if len(self._waiting) - self._at > LONGEST_LINE:
                raise Malformed("a line of the answer's head is too long")
            data = self.sock.recv(_BLOCK)
            if not data:
                raise EndedEarly("closed without an answer")
            self._waiting, self._at = self._waiting[self._at:] + data, 0
        start, self._at = self._at, end + 1
        return self._waiting[start:end].removesuffix(b"\r")

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes of what comes, b"" where the connection was closed."""
        if self._at < len(self._waiting):
            start, self._at = self._at, min(self._at + size, len(self._waiting))
            return self._waiting[start:self._at]
        return self.sock.recv(size)

    @property
    def is_silent(self) -> bool:
        """Whether it is open and nothing came that nobody asked for: it can be used again."""
        if self._at < len(self._waiting):
            return False
        waiting = select.poll()
        waiting.register(self.sock, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


class Answer:
    """Status and headers, and the body as it is read. ``is_whole``: its end was read; ``is_last``: the connection ends with it."""

    def __init__(self, channel: Channel, method: str, status: int, headers: dict[str, list[str]], *, is_persistent: bool) -> None:
        self.status = status
        self.headers = headers
        self._channel = channel
        said = {word.strip().lower() for value in headers.get("connection", ()) for word in value.split(",")}
        self.is_last = "close" in said or not (is_persistent or "keep-alive" in said)
        coding = self.header("transfer-encoding").lower()
        if coding not in ("", "chunked"):
            raise Malformed(f"the answer is encoded in a way that nobody asked for: {coding[:100]!r}")
        self.length = self._announced()
        self._chunk = 0                      # bytes left of the chunk that is being read
        self._left = None if coding else self.length
        self._is_chunked = bool(coding)
        self.is_whole = method == "HEAD" or status in (204, 304) or self._left == 0
        if (coding and self.length is not None) or (self._left is None and not coding and not self.is_whole):
            self.is_last = True              # who says two lengths may be misunderstood; who says none ends with the connection

    def header(self, name: str) -> str:
        """A header's value (``name`` in lower case), several joined by commas, "" where it is absent."""
        return ", ".join(self.headers.get(name, ()))

    def _announced(self) -> int | None:
        """Content-Length, if there is one."""
        values = {text.strip() for value in self.headers.get("content-length", ()) for text in value.split(",")}
        if not values:
            return None
        text = values.pop()
        if values or not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Malformed("the answer's length is no number")
        return int(text)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the body as they come, b"" at its end. EndedEarly, Malformed, OSError."""
        if self.is_whole:
            return b""
        if self._is_chunked:
            return self._read_chunked(size)
        data = self._channel.take(size if self._left is None else min(size, self._left))
        if self._left is None:
            self.is_whole = not data
        elif data:
            self._left -= len(data)
            self.is_whole = not self._left
        else:
            raise EndedEarly("the answer ended early")
        return data

    def _read_chunked(self, size: int) -> bytes:
        if not self._chunk:
            digits = self._channel.line().partition(b";")[0].strip()
            if not 0 < len(digits) <= 15 or not _HEXADECIMAL.issuperset(digits):
                raise Malformed("a chunk of the answer has no length")
            self._chunk = int(digits, 16)
            if not self._chunk:
                self._skip_trailers()
                self.is_whole = True
                return b""
        data = self._channel.take(min(size, self._chunk))
        if not data:
            raise EndedEarly("the answer ended early")
        self._chunk -= len(data)
        if not self._chunk and self._channel.line():
            raise Malformed("a chunk of the answer is longer than it says")
        return data

    def _skip_trailers(self) -> None:
        for _ in range(MOST_LINES):
            if not self._channel.line():
                return
        raise Malformed(f"the answer's end has more than {MOST_LINES} lines")
