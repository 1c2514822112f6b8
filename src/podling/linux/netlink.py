"""Talking to the kernel over netlink: messages of attributes, many requests in one send, an answer for each.

    with Connection(ROUTE) as route:
        route.run([rtnetlink.bridge("br0"), rtnetlink.up(3)])

A socket belongs to the network namespace in which it was opened, whatever namespace its process is in later. netlink(7).
"""

from __future__ import annotations

import os

from podling.errors import PodlingError, Unsupported
from podling.linux.syscalls import BYTE_ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self
else:
    import _socket  # `socket` takes 5 ms

ROUTE, NETFILTER = 0, 12
REQUEST, MULTI, ACK, DUMP = 1, 2, 4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_HEADER = 16
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_ACK_HAS_ATTRIBUTES = 0x200
_READ = 1 << 18
_AT_ONCE = 256              # requests in one send, so that their acknowledgements fit into the receive buffer


# --- attributes -------------------------------------------------------------------------------------------------------


def attribute(kind: int, content: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = len(content) + 4
    return length.to_bytes(2, BYTE_ORDER) + kind.to_bytes(2, BYTE_ORDER) + content + bytes(-length % 4)


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, value.to_bytes(1, BYTE_ORDER))


def u32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in the machine's order."""
    return attribute(kind, value.to_bytes(4, BYTE_ORDER))


def be32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in the network's order, as netfilter wants numbers."""
    return attribute(kind, value.to_bytes(4, "big"))


def text(kind: int, value: str) -> bytes:
    """An attribute with a string that ends with a zero."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def attributes(content: bytes) -> dict[int, bytes]:
    """kind -> content of each attribute; of one that comes several times the last."""
    return dict(each_attribute(content))


def each_attribute(content: bytes) -> list[tuple[int, bytes]]:
    """(kind, content) of each attribute; what is cut off is left out."""
    found = []
    at = 0
    while at + 4 <= len(content):
        length = int.from_bytes(content[at:at + 2], BYTE_ORDER)
        if length < 4:
            break
        kind = int.from_bytes(content[at + 2:at + 4], BYTE_ORDER) & 0x3FFF
        found.append((kind, content[at + 4:at + length]))
        at += (length + 3) & ~3
    return found


# --- requests ---------------------------------------------------------------------------------------------------------


class Request:
    """One message to the kernel. ``what`` says in an error what was tried; errors in ``fine`` are none (there already, gone already)."""

    __slots__ = ("body", "fine", "flags", "kind", "what")

    def __init__(self, kind: int, body: bytes, *, flags: int = 0, what: str = "", fine: tuple[int, ...] = ()) -> None:
        self.kind = kind
        self.body = body
        self.flags = flags
        self.what = what
        self.fine = fine

    def message(self, number: int, flags: int) -> bytes:
        """The message with its header."""
        length = _HEADER + len(self.body)
        return b"".join((length.to_bytes(4, BYTE_ORDER), self.kind.to_bytes(2, BYTE_ORDER),
                         (self.flags | flags | REQUEST).to_bytes(2, BYTE_ORDER), number.to_bytes(4, BYTE_ORDER), bytes(4),
                         self.body, bytes(-length % 4)))


class KernelRefused(PodlingError):
    """The kernel's answer to a request was an error; ``errno`` says which."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class Connection:
    """A netlink socket of one family in the network namespace that this process is in now."""

    def __init__(self, family: int) -> None:
        try:
            self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        except OSError as error:
            raise Unsupported(f"this kernel has no netlink sockets of family {family}") from error
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    @property
    def fd(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def run(self, requests: Sequence[Request]) -> None:
        """Have all of them done, each for itself, in order; the first that fails is raised as KernelRefused after all were tried."""
        for start in range(0, len(requests), _AT_ONCE):
            part = requests[start:start + _AT_ONCE]
            first = self._number + 1
            self._number += len(part)
            self._send(b"".join(request.message(first + at, ACK) for at, request in enumerate(part)))
            answers = self._acknowledged(first, len(part))
            for at, request in enumerate(part):
                _check(request, answers.get(first + at))

    def transact(self, subsystem: int, requests: Sequence[Request]) -> None:
        """Have all of them done by netfilter in one transaction, or none; KernelRefused for the first that fails."""
        if not requests:
            return
        border = bytes((0, 0)) + subsystem.to_bytes(2, "big")
        first = self._number + 1
        self._number += len(requests) + 2
        messages = [Request(0x10, border).message(first, 0)]
        messages += [request.message(first + at, ACK) for at, request in enumerate(requests, 1)]
        messages.append(Request(0x11, border).message(first + len(requests) + 1, 0))
        data = b"".join(messages)
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            if len(data) > 1 << 16:
                self._socket.setsockopt(_socket.SOL_SOCKET, option, 4 * len(data))
        self._send(data)
        answers = self._acknowledged(first + 1, len(requests), aborts=first)
        for at, request in enumerate(requests, 1):
            _check(request, answers.get(first + at))
        if first in answers:
            _check(Request(0, b"", what="changing the firewall"), answers[first])

    def ask(self, request: Request, *, dump: bool = False) -> list[bytes]:
        """The bodies of the kernel's answers to a question; KernelRefused, but none for an error that is ``fine``."""
        self._number += 1
        self._send(request.message(self._number, DUMP if dump else 0))
        found: list[bytes] = []
        while True:
            for number, kind, flags, body in self._receive():
                if number != self._number:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    _check(request, (flags, body))
                    return found
                found.append(body)
                if not flags & MULTI:
                    return found

    def _send(self, data: bytes) -> None:
        self._socket.sendto(data, (0, 0))

    def _receive(self) -> Iterable[tuple[int, int, int, bytes]]:
        """(number, kind, flags, body) of the messages of one read."""
        data = self._socket.recv(_READ)
        at = 0
        while at + _HEADER <= len(data):
            length = int.from_bytes(data[at:at + 4], BYTE_ORDER)
            yield (int.from_bytes(data[at + 8:at + 12], BYTE_ORDER), int.from_bytes(data[at + 4:at + 6], BYTE_ORDER),
                   int.from_bytes(data[at + 6:at + 8], BYTE_ORDER), data[at + _HEADER:at + length])
            at += (length + 3) & ~3

    def _acknowledged(self, first: int, count: int, *, aborts: int = 0) -> dict[int, tuple[int, bytes]]:
        """number -> (flags, body) of the answer to each request; an error of the number ``aborts`` ends them all."""
        answers: dict[int, tuple[int, bytes]] = {}
        while len(answers) < count:
            for number, kind, flags, body in self._receive():
                if kind == _ERROR and (first <= number < first + count or (aborts and number == aborts)):
                    answers[number] = flags, body
            if aborts and aborts in answers:
                break
        return answers


def _check(request: Request, answer: tuple[int, bytes] | None) -> None:
    """Raise what the kernel's acknowledgement says, if it is an error that matters."""
    if answer is None:
        return
    flags, body = answer
    number = -int.from_bytes(body[:4], BYTE_ORDER, signed=True)
    if number == 0 or number in request.fine:
        return
    words = ""
    if flags & _ACK_HAS_ATTRIBUTES:                    # the request's header is in between: NLM_F_CAPPED leaves out the rest
        words = attributes(body[4 + _HEADER:]).get(1, b"").rstrip(b"\0").decode(errors="replace")
    raise KernelRefused(f"{request.what}: {words + ': ' if words else ''}{os.strerror(number).lower()}", number)
