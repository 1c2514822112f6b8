"""The process that forwards published ports into a network namespace; started by :mod:`podling.network.forward`.

It inherits sockets that are bound in the host's namespace, and lives itself in the namespace where the container is: what it connects
is connected there. It is one loop over epoll, and holds nothing of podling but this module, so that it stays small.

Standard input says what to do, a line each, until its end:

    target ADDRESS           where the container is, at most one for IPv4 and one for IPv6
    mark NUMBER [udp]        clients keep their addresses: sockets of this mark are answered to this very namespace
    near SUBNET/PREFIX       clients that cannot keep their addresses, since they would be taken for neighbours
    tcp|udp FD PORT          connections to this socket go to this port of the container

Its argument is a descriptor; it ends when that one is hung up. ``ready`` on standard output says that it forwards.

TCP is moved by splice(2): the bytes go from socket to socket through a pipe and never come here. Pipes are lent to a connection for as
long as bytes are in them.
"""

from __future__ import annotations

import os
import select
import sys
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable
else:
    import _socket

_CHUNK = 1 << 20
_ROUNDS = 16                 # of a busy connection before the others have their turn
_BACKLOG = 4096
_OUT_OF_FILES = 0.01         # seconds
_SPARE_PIPES = 8
_UDP_IDLE = 90.0             # seconds after which a client that says nothing is forgotten, as Podman's forwarder has it
_UDP_ROUNDS = 64
_MOST_FLOWS = 4096
_IP_TRANSPARENT, _IPV6_TRANSPARENT, _SO_MARK = 19, 75, 36
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_TCP_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_SAYS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP
_MAPPED = bytes(10) + b"\xff\xff"


class Target:
    """Where the container is."""

    def __init__(self) -> None:
        self.addresses: dict[int, str] = {}      # family -> address
        self.mark = 0
        self.datagrams = False                   # UDP's clients keep their addresses too
        self.near: list[tuple[int, int, int]] = []     # (family, first bits as a number, how many are left out)

    def choose(self, family: int) -> tuple[int, str]:
        """The container's address for a client of this family: (family, address)."""
        if family in self.addresses:
            return family, self.addresses[family]
        return next(iter(self.addresses.items()))

    def add_near(self, text: str) -> None:
        """Remember a subnet whose addresses clients do not keep."""
        address, _, prefix = text.partition("/")
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        packed = _socket.inet_pton(family, address)
        rest = len(packed) * 8 - int(prefix)
        self.near.append((family, int.from_bytes(packed, "big") >> rest, rest))

    def keeps(self, family: int, address: str) -> bool:
        """Whether a client of this address keeps it: the container must take it for somebody outside, and for nobody else."""
        packed = _socket.inet_pton(family, address)
        if not self.mark or packed[0] == 127 or packed == bytes(15) + b"\1" or packed[:2] == b"\xfe\x80":
            return False
        number = int.from_bytes(packed, "big")
        return not any(kind == family and number >> rest == first for kind, first, rest in self.near)


    def reach(self, kind: int, port: int, client: tuple[int, str], client_port: int) -> _socket.socket:
        """A socket that connects to a port of the container, as the client (family, address) where that can be."""
        family, where = self.choose(client[0])
        if family == client[0] and (kind == _socket.SOCK_STREAM or self.datagrams) and self.keeps(*client):
            try:
                return self._connect(family, kind, (where, port), (client[1], client_port))
            except OSError:                       # taken, or not to be had here: from an address of this namespace then
                pass
        return self._connect(family, kind, (where, port), None)

    def _connect(self, family: int, kind: int, there: tuple[str, int], source: tuple[str, int] | None) -> _socket.socket:
        sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            if source is not None:
                level, option = ((_socket.IPPROTO_IP, _IP_TRANSPARENT) if family == _socket.AF_INET
                                 else (_socket.IPPROTO_IPV6, _IPV6_TRANSPARENT))
                sock.setsockopt(level, option, 1)
                sock.setsockopt(_socket.SOL_SOCKET, _SO_MARK, self.mark)
                sock.bind(source)
            error = sock.connect_ex(there)
            if error not in (0, 115):             # EINPROGRESS
                raise OSError(error, os.strerror(error))
        except BaseException:
            sock.close()
            raise
        return sock


def plain(address: str) -> tuple[int, str]:
    """(family, address) of what an IPv6 socket calls an address; IPv4 ones are hidden in it."""
    if "." in address:
        return _socket.AF_INET, address.rpartition(":")[2]
    return (_socket.AF_INET6 if ":" in address else _socket.AF_INET), address.partition("%")[0]


class Loop:
    """epoll, and what is called for a descriptor's events."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.again: list[tuple[Connection, Way]] = []     # what was interrupted to be fair
        self.stopped = False
        self.pipes: list[tuple[int, int]] = []

    def add(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(events)`` for this descriptor."""
        self.handlers[fd] = handler
        self.epoll.register(fd, events)

    def remove(self, fd: int) -> None:
        """Forget a descriptor that is about to be closed."""
        del self.handlers[fd]
        self.epoll.unregister(fd)

    def run(self, every: Callable[[], None]) -> None:
        """Until it is stopped; ``every`` is called from time to time."""
        swept = monotonic()
        while not self.stopped:
            for fd, events in self.epoll.poll(0 if self.again else 30):
                handler = self.handlers.get(fd)
                if handler is not None:
                    handler(events)
            again, self.again = self.again, []
            for connection, way in again:
                way.queued = False
                connection.move(way)
            if monotonic() - swept > 30:
                swept = monotonic()
                every()

    def lend_pipe(self) -> tuple[int, int]:
        """An empty pipe."""
        if self.pipes:
            return self.pipes.pop()
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            import fcntl

            fcntl.fcntl(pipe[1], 1031, _CHUNK)        # F_SETPIPE_SZ
        except OSError:
            return pipe                               # the user's share of big pipes is used up: a small one does as well
        return pipe

    def take_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        """Keep a pipe for the next, or close it."""
        if empty and len(self.pipes) < _SPARE_PIPES:
            self.pipes.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])


# --- TCP --------------------------------------------------------------------------------------------------------------


class Way:
    """One direction of a connection."""

    def __init__(self, loop: Loop, source: _socket.socket, target: _socket.socket) -> None:
        self.loop, self.source, self.target = loop, source.fileno(), target.fileno()
        self.end = target
        self.pipe: tuple[int, int] | None = None
        self.pending = 0                # bytes in the pipe
        self.queued = False             # it waits for its turn
        self.ended = False              # the source has said its last, and the target was told

    def move(self) -> bool:
        """Move what can be moved; True where there is more that waits for its turn. OSError where the connection is broken."""
        for _ in range(_ROUNDS):
            if not (self.pending or self._take()):
                return False
            try:
                assert self.pipe is not None
                self.pending -= os.splice(self.pipe[0], self.target, self.pending, flags=3)    # MOVE, NONBLOCK
            except BlockingIOError:
                return False
            if not self.pending:
                self._give_back()
        return True

    def _take(self) -> bool:
        """Fill the pipe; False where there is nothing to fill it with."""
        if self.pipe is None:
            self.pipe = self.loop.lend_pipe()
        try:
            self.pending = os.splice(self.source, self.pipe[1], _CHUNK, flags=3)
        except BlockingIOError:
            self._give_back()
            return False
        if not self.pending:
            self._give_back()
            self.ended = True
            self.end.shutdown(_socket.SHUT_WR)
        return self.pending > 0

    def _give_back(self) -> None:
        if self.pipe is not None:
            self.loop.take_back(self.pipe, empty=not self.pending)
            self.pipe = None

    close = _give_back


class Connection:
    """A client and the container, joined."""

    def __init__(self, loop: Loop, client: _socket.socket, server: _socket.socket) -> None:
        self.loop, self.client, self.server = loop, client, server
        self.there = Way(loop, client, server)
        self.back = Way(loop, server, client)
        self.connected = self.closed = False
        loop.add(client.fileno(), _TCP_EVENTS, self.handle_client)
        loop.add(server.fileno(), _TCP_EVENTS, self.handle_server)

    def handle_server(self, events: int) -> None:
        """Something happened on the container's side."""
        if not self.connected:
            if self.server.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
                self.close(reset=True)
                return
            if not events & select.EPOLLOUT or events & select.EPOLLHUP:
                return
            self.connected = True
            events |= select.EPOLLIN
            self.move(self.there)                 # what the client has said meanwhile
        self._act(events, self.back, self.there)

    def handle_client(self, events: int) -> None:
        """Something happened on the client's side."""
        if self.connected:
            self._act(events, self.there, self.back)

    def _act(self, events: int, says: Way, hears: Way) -> None:
        """Move what one side says, and what it hears if that had to wait."""
        if events & select.EPOLLERR:
            self.close(reset=True)
        elif events & _SAYS:
            self.move(says)
        if events & select.EPOLLOUT and hears.pending:
            self.move(hears)

    def move(self, way: Way) -> None:
        """Move what one side has said to the other."""
        if self.closed or way.ended:
            return
        try:
            more = way.move()
        except OSError:
            self.close(reset=True)
            return
        if self.there.ended and self.back.ended:
            self.close(reset=False)
        elif more and not way.queued:
            way.queued = True
            self.loop.again.append((self, way))

    def close(self, *, reset: bool) -> None:
        """Close both sides; with ``reset`` both are told that something went wrong."""
        if self.closed:
            return
        self.closed = True
        self.there.close()
        self.back.close()
        for sock in (self.client, self.server):
            self.loop.remove(sock.fileno())
            if reset:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
            sock.close()


class Listener:
    """A TCP port of the host."""

    def __init__(self, loop: Loop, fd: int, port: int, target: Target) -> None:
        self.loop, self.port, self.target = loop, port, target
        self.sock = _socket.socket(fileno=fd)
        self.sock.listen(_BACKLOG)
        self.sock.setblocking(False)
        loop.add(fd, select.EPOLLIN, self.handle)

    def handle(self, events: int) -> None:
        """Accept who is waiting."""
        for _ in range(_ROUNDS):
            try:
                fd, peer = self.sock._accept()    # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in (23, 24):       # no descriptor is free: the client waits, and this process does not spin
                    sleep(_OUT_OF_FILES)
                return
            client = _socket.socket(fileno=fd)
            client.setblocking(False)
            try:
                server = self.target.reach(_socket.SOCK_STREAM, self.port, plain(peer[0]), peer[1])
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            Connection(self.loop, client, server)


# --- UDP --------------------------------------------------------------------------------------------------------------


class Flow:
    """What one client says to the container, and hears from it."""

    def __init__(self, port: Port, key: tuple[object, ...], answer: Callable[[bytes], object], sock: _socket.socket) -> None:
        self.port, self.key, self.answer = port, key, answer
        self.used = monotonic()
        self.sock = sock
        port.loop.add(sock.fileno(), select.EPOLLIN, self.handle)

    def handle(self, events: int) -> None:
        """Answers of the container go to the client."""
        for _ in range(_UDP_ROUNDS):
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:                       # the container does not listen: its client hears nothing, as of a lost packet
                return
            self.used = monotonic()
            try:
                self.answer(data)
            except OSError:
                return

    def close(self) -> None:
        """Forget the client."""
        self.port.loop.remove(self.sock.fileno())
        self.sock.close()
        self.port.flows.pop(self.key, None)


class Port:
    """A UDP port of the host."""

    def __init__(self, loop: Loop, fd: int, number: int, target: Target) -> None:
        self.loop, self.number, self.target = loop, number, target
        self.flows: dict[tuple[object, ...], Flow] = {}
        self.sock = _socket.socket(fileno=fd)
        self.sock.setblocking(False)
        self.version6 = self.sock.family == _socket.AF_INET6
        # An answer must come from the address that was asked, which of a socket on all addresses only the packet tells.
        if self.version6:
            self.sock.setsockopt(_socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            self.sock.setsockopt(_socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.add(fd, select.EPOLLIN, self.handle)

    def handle(self, events: int) -> None:
        """Packets of clients go to the container."""
        for _ in range(_UDP_ROUNDS):
            try:
                data, extra, _, peer = self.sock.recvmsg(1 << 16, 64)
            except OSError:
                return
            asked = next((content for level, kind, content in extra if kind in (_IP_PKTINFO, _IPV6_PKTINFO)), b"")
            flow = self.flows.get((peer, asked)) or self._new_flow(peer, asked)
            if flow is None:
                continue
            flow.used = monotonic()
            try:
                flow.sock.send(data)
            except OSError:
                continue                          # as a packet that is lost

    def _new_flow(self, peer: tuple[str, int], asked: bytes) -> Flow | None:
        if len(self.flows) >= _MOST_FLOWS:
            min(self.flows.values(), key=lambda flow: flow.used).close()
        sock = self.sock
        control = self._source(asked)

        def answer(data: bytes) -> object:
            return sock.sendmsg([data], control, 0, peer)

        try:
            there = self.target.reach(_socket.SOCK_DGRAM, self.number, plain(peer[0]), peer[1])
        except OSError:
            return None
        flow = Flow(self, (peer, asked), answer, there)
        self.flows[(peer, asked)] = flow
        return flow

    def _source(self, asked: bytes) -> list[tuple[int, int, bytes]]:
        """The control message that gives an answer the address that was asked."""
        if self.version6:
            address = asked[:16]
            local = address.startswith(_MAPPED) or address[:2] == b"\xfe\x80"
            return [(_socket.IPPROTO_IPV6, _IPV6_PKTINFO, address + (asked[16:20] if local else bytes(4)))] if asked else []
        return [(_socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + asked[4:8] + bytes(4))] if asked else []

    def sweep(self, now: float) -> None:
        """Forget clients that say nothing any more."""
        for flow in [flow for flow in self.flows.values() if now - flow.used > _UDP_IDLE]:
            flow.close()


# --- the process ------------------------------------------------------------------------------------------------------


def _read_all(fd: int) -> str:
    text = b""
    while data := os.read(fd, 1 << 16):
        text += data
    return text.decode()


def configure(loop: Loop, lines: Iterable[str]) -> list[Port]:
    """Listen to everything that is asked; the UDP ports."""
    target, ports = Target(), []
    for line in lines:
        word, value, *more = line.split()
        if word == "target":
            target.addresses[_socket.AF_INET6 if ":" in value else _socket.AF_INET] = value
        elif word == "mark":
            target.mark, target.datagrams = int(value), "udp" in more
        elif word == "near":
            target.add_near(value)
        elif word == "tcp":
            Listener(loop, int(value), int(more[0]), target)
        else:
            ports.append(Port(loop, int(value), int(more[0]), target))
    return ports


def _allow_descriptors() -> None:
    """As many open files as the hard limit allows: a connection takes two, and up to four while bytes wait."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Forward until the descriptor in the first argument is hung up."""
    _allow_descriptors()
    loop = Loop()
    life = int(sys.argv[1])

    def stop(events: int) -> None:
        loop.stopped = loop.stopped or bool(events & (select.EPOLLHUP | select.EPOLLERR))

    loop.add(life, 0, stop)
    ports = configure(loop, _read_all(0).splitlines())
    os.write(1, b"ready")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)

    def sweep() -> None:
        for port in ports:
            port.sweep(monotonic())

    loop.run(sweep)
