"""HTTP/1.1 for direct connections: requests go out, answers come in pieces, a connection serves the next request.

It follows no redirect, knows no proxy and tries nothing again: a caller does. urllib3, which does more, takes 40 ms to load and
serves behind proxies only. The grammar is that of RFC 9112.
"""

from __future__ import annotations

import select
import socket
import threading
from urllib.parse import quote, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

_LINE_LIMIT = 64 << 10                       # bytes of a line of the head, or of a chunk's size
_FIELDS_LIMIT = 200
_KEPT = 8                                    # idle connections to one server
_TARGET = "!#$%&'()*+,/:;=?@[]~"             # what stays as it is in a request's target


class NotConnected(Exception):
    """There is no connection; its cause says why."""


class Broken(Exception):
    """What the server sent is no HTTP, or ends too early."""


class Link:
    """One connection to a server."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.file = made.makefile("rb")

    @property
    def is_stale(self) -> bool:
        """Whether the server has ended it, or said what nobody asked for."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """End the connection."""
        self.file.close()
        self.socket.close()

    def line(self) -> bytes:
        """A line without its end; Broken where there is none."""
        line = self.file.readline(_LINE_LIMIT)
        if not line.endswith(b"\n"):
            raise Broken("the server sends no HTTP" if line else "the server ended the connection without an answer")
        return line.rstrip(b"\r\n")


class Headers:
    """An answer's header fields, with names in lower case."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []

    def getlist(self, name: str) -> list[str]:
        """All values of a field."""
        name = name.lower()
        return [value for known, value in self.fields if known == name]

    def get(self, name: str) -> str:
        """The values of a field as one text, "" where it is absent."""
        return ", ".join(self.getlist(name))


class Response:
    """An answer whose body is read as it comes. ``length_remaining``: bytes that must follow, None where it does not say."""

    def __init__(self, link: Link, method: str, release: Callable[[Link], None]) -> None:
        self._link: Link | None = link
        self._release = release
        version, self.status = _status(link)
        self.headers = _headers(link)
        while 100 <= self.status < 200:      # the real answer follows
            version, self.status = _status(link)
            self.headers = _headers(link)
        self.length_remaining: int | None = None
        self._chunked = "chunked" in self.headers.get("transfer-encoding").lower()
        words = self.headers.get("connection").lower()
        self._keep = "close" not in words if version == b"HTTP/1.1" else "keep-alive" in words
        self._frame(method)

    def _frame(self, method: str) -> None:
        """Find out where the body ends."""
        if method == "HEAD" or self.status in (204, 304):
            self._chunked = False
            self.length_remaining = 0
        elif self._chunked:
            self.length_remaining = None
        else:
            values = set(self.headers.getlist("content-length"))
            if len(values) > 1 or not all(value.isascii() and value.isdigit() and len(value) < 19 for value in values):
                raise Broken("the answer's length is no number")
            self.length_remaining = int(values.pop()) if values else None
        if self.length_remaining == 0:
            self.release_conn()

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes as soon as there are some, b"" at the end."""
        link = self._link
        if link is None:
            return b""
        if self._chunked and not self.length_remaining:
            self.length_remaining = self._next_chunk(link)
            if not self.length_remaining:
                self.release_conn()
                return b""
        wanted = size if self.length_remaining is None else min(size, self.length_remaining)
        data = link.file.read1(wanted)
        if not data:
            self.close()
            if self._chunked:
                raise Broken("the answer ended within a chunk")
            return b""                       # the caller sees what is missing
        if self.length_remaining is not None:
            self.length_remaining -= len(data)
            self._after(link)
        return data

    def _after(self, link: Link) -> None:
        """At the end of a chunk, or of the body."""
        if self.length_remaining == 0:
            if not self._chunked:
                self.release_conn()
            elif link.line():
                raise Broken("a chunk is longer than announced")

    @staticmethod
    def _next_chunk(link: Link) -> int:
        """The size of the next chunk, 0 at the end, with the trailer read."""
        text = link.line().partition(b";")[0].strip()
        try:
            size = int(text, 16) if text.isalnum() and len(text) < 16 else -1
        except ValueError:
            size = -1
        if size < 0:
            raise Broken("the size of a chunk is no number")
        if size == 0:
            _headers(link)
        return size

    def release_conn(self) -> None:
        """The body was read: the connection serves the next request."""
        link, self._link = self._link, None
        if link is None:
            return
        if self._keep and not self.length_remaining and (self._chunked or self.length_remaining == 0):
            self._release(link)
        else:
            link.close()

    def close(self) -> None:
        """Give up what is unread, and the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _status(link: Link) -> tuple[bytes, int]:
    version, _, rest = link.line().partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit():
        raise Broken("the server sends no HTTP")
    return version, int(code)


def _headers(link: Link) -> Headers:
    found = Headers()
    while line := link.line():
        name, colon, value = line.partition(b":")
        if not colon or len(found.fields) >= _FIELDS_LIMIT:
            raise Broken("the answer's head is no HTTP")
        found.fields.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
    return found


class Client:
    """Connections to any servers, some kept for the next request; threads may share it."""

    def __init__(self, *, connect: float, read: float, context: ssl.SSLContext | None) -> None:
        """``connect`` (TLS included) and ``read`` in seconds; ``context``: None for plain HTTP only."""
        self.connect = connect
        self.patience = read
        self.context = context
        self._idle: dict[tuple[str, str, int], list[Link]] = {}
        self._lock = threading.Lock()

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None) -> Response:
        """Send one request; NotConnected, Broken, OSError. A body that is no bytes goes out in chunks."""
        parts = urlsplit(url)
        server = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_TARGET)
        head = _head(method, target, {"Host": _ascii(parts.netloc.rpartition("@")[2]).decode(), **headers}, body)
        link = self._take(server) or self._open(server)
        try:
            _send(link, head, body)
            return Response(link, method, lambda free: self._keep(server, free))
        except BaseException:
            link.close()
            raise

    def _take(self, server: tuple[str, str, int]) -> Link | None:
        while True:
            with self._lock:
                idle = self._idle.get(server)
                link = idle.pop() if idle else None
            if link is None or not link.is_stale:
                return link
            link.close()

    def _keep(self, server: tuple[str, str, int], link: Link) -> None:
        with self._lock:
            idle = self._idle.setdefault(server, [])
            if len(idle) < _KEPT:
                idle.append(link)
                return
        link.close()

    def _open(self, server: tuple[str, str, int]) -> Link:
        scheme, host, port = server
        try:
            name = _ascii(host)              # as bytes: a text would load the codec of international names, 3 ms
            made = socket.create_connection((name, port), self.connect)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise NotConnected from error
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                if self.context is None:
                    raise ValueError("TLS without a context")
                made = self.context.wrap_socket(made, server_hostname=name)
            made.settimeout(self.patience)
        except TimeoutError as error:
            made.close()
            raise NotConnected from error
        except BaseException:
            made.close()
            raise
        return Link(made)

    def clear(self) -> None:
        """Close what is kept."""
        with self._lock:
            links = [link for idle in self._idle.values() for link in idle]
            self._idle.clear()
        for link in links:
            link.close()


def _ascii(host: str) -> bytes:
    return host.encode() if host.isascii() else host.encode("idna")


def _head(method: str, target: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    if isinstance(body, bytes):
        lines.append(f"Content-Length: {len(body)}")
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
    if not all(line.isprintable() for line in lines):
        raise Broken("a request's head must have no control characters")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _send(link: Link, head: bytes, body: bytes | Iterable[bytes] | None) -> None:
    """Send a request. A server that answers and ends the connection before it has read all is listened to."""
    if body is None or isinstance(body, bytes):
        pieces: Iterable[bytes] = (head + (body or b""),)
    else:
        link.socket.sendall(head)
        pieces = _chunks(body)
    try:
        for piece in pieces:
            link.socket.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        if body is None:
            raise


def _chunks(body: Iterable[bytes]) -> Iterable[bytes]:
    for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
