"""Published ports by our own forwarder: a process (:mod:`podling.network.forwarder`) between the host's ports and a namespace.

    listen      the ports are bound, by this process in the host's namespace
    begin       the forwarder is started with the sockets, in the namespace where the container is   -> Forwarding
    down        it has ended; idempotent

It ends with its container's conmon (see :mod:`podling.network.companions`), or by ``down``.
"""

from __future__ import annotations

import os
import sys

from podling import jsontext
from podling.errors import InUse, InvalidArgument, PodlingError, Refused
from podling.linux import files, process
from podling.network import companions, transparent
from podling.network.namespaces import inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable, Sequence

    from podling.values.ports import PortMapping
else:
    import _socket

_SECONDS = 10.0
_OTHER_FILES = 128           # that this process may have open beside the ports
_UNPRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop()); from podling.network.forwarder import main; main()"


class Listening:
    """The host's ports of a container, bound: (protocol, port of the container, socket)."""

    def __init__(self, ports: Iterable[PortMapping], *, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
        """``owner_of`` gives (port, protocol) -> name of the container of ours that has it, for the error's sake."""
        self.sockets: list[tuple[str, int, _socket.socket]] = []
        wanted = sum(port.length for port in ports)
        try:
            with _Descriptors(wanted):
                for port in ports:
                    for number in range(port.length):
                        self._listen(port, number, owner_of)
        except BaseException:
            self.close()
            raise

    def _listen(self, port: PortMapping, offset: int, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
        if port.protocol not in ("tcp", "udp"):
            raise InvalidArgument(f"the protocol {port.protocol} cannot be forwarded without root",
                                  hint="publish tcp or udp ports, or run it as root on a bridge network")
        number = port.host_port + offset
        try:
            sock = _bind(port.protocol, port.host_ip, number)
        except OSError as error:
            raise _error(port, number, error, owner_of) from None
        self.sockets.append((port.protocol, port.container_port + offset, sock))

    def close(self) -> None:
        """Let go of our copies; idempotent."""
        for _, _, sock in self.sockets:
            sock.close()
        self.sockets.clear()


def check(ports: Iterable[PortMapping], *, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
    """Raise what :class:`Listening` would: for programs that listen themselves and say less."""
    Listening(ports, owner_of=owner_of).close()


class _Descriptors:
    """``with``: this process may have as many more files open; what it starts later may not."""

    def __init__(self, more: int) -> None:
        self.more = more
        self._before: tuple[int, int] | None = None

    def __enter__(self) -> None:
        if self.more < _OTHER_FILES:
            return
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.more + _OTHER_FILES
        if soft >= wanted:
            return
        if hard < wanted:
            raise PodlingError(f"{self.more} ports cannot be forwarded: at most {hard} files may be open",
                               hint=f"raise the limit, for example: ulimit -Hn {wanted}")
        self._before = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self._before)      # what is open stays open


def _bind(protocol: str, host_ip: str, number: int) -> _socket.socket:
    """A bound socket, TCP's listening, so that the port is ours; without an address on all, IPv6's too where there are any."""
    everywhere6 = not host_ip and os.path.exists("/proc/net/if_inet6")
    family = _socket.AF_INET6 if ":" in host_ip or everywhere6 else _socket.AF_INET
    kind = _socket.SOCK_STREAM if protocol == "tcp" else _socket.SOCK_DGRAM
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    try:
        if protocol == "tcp":
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0 if everywhere6 else 1)
        sock.bind((host_ip or ("::" if everywhere6 else ""), number))
        if protocol == "tcp":
            sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _error(port: PortMapping, number: int, error: OSError, owner_of: Callable[[], dict[tuple[int, str], str]]) -> PodlingError:
    """Why a port cannot be had, in the words of Podman's forwarder."""
    shown = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "0.0.0.0"
    words = f"listen {port.protocol} {shown}:{number}: bind: {os.strerror(error.errno or 0).lower()}"
    if error.errno == 13:
        start = files.read_bytes(_UNPRIVILEGED, 64).decode().strip()
        return Refused(f"rootlessport cannot expose privileged port {number}, you can add "
                       f"'net.ipv4.ip_unprivileged_port_start={number}' to /etc/sysctl.conf (currently {start}), or choose a larger "
                       f"port number (>= {start}): {words}", hint=f"to allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={number}")
    if error.errno == 98:
        owner = owner_of().get((number, port.protocol), "")
        return InUse(f"rootlessport {words}", hint=f"container {owner} has it: stop it, or publish another port" if owner else
                     f"see who has it with 'ss -lnp sport = :{number}', or publish another port")
    if error.errno == 99:
        return InvalidArgument(f"rootlessport {words}", hint=f"{port.host_ip} is not an address of this host")
    return PodlingError(f"rootlessport {words}")


class Forwarding:
    """The forwarder while it starts."""

    def __init__(self, child: process.Child) -> None:
        self._child: process.Child | None = child

    def finish(self) -> None:
        """Wait until it forwards; PodlingError with its last words."""
        assert self._child is not None
        try:
            companions.wait_ready(self._child, self._child.stdout, "forwarding ports", _SECONDS)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the pipes to it; idempotent. It goes on."""
        if self._child is not None:
            self._child.close()
            self._child = None


def begin(container_id: str, listening: Listening, targets: Sequence[str], *, netns: str, runroot: str, life: int,
          near: Sequence[str] = (), mark: int = transparent.HERE) -> Forwarding:
    """Start the forwarder in the namespace at ``netns``; it takes over the sockets, which are closed here.

    ``targets``: the container's addresses. ``near``: subnets that are the container's neighbourhood. ``life``: the near end of the
    container's lifeline. ``mark``: one of ``transparent``'s, by which clients keep their addresses; 0: they do not.
    """
    lines = [f"target {address}" for address in targets] + [f"near {subnet}" for subnet in near]
    if mark and transparent.prepare(netns):
        lines.append(f"mark {mark}" + (" udp" if mark == transparent.BRIDGED else ""))
    lines += [f"{protocol} {sock.fileno()} {number}" for protocol, number, sock in listening.sockets]
    source = os.path.realpath(f"{os.path.dirname(__file__)}/../..")
    argv = [sys.executable or "/usr/bin/python3", "-I", "-S", "-c", _PROGRAM, str(life), container_id, source]
    passed = [life, *(sock.fileno() for _, _, sock in listening.sockets)]
    child = inside(netns, lambda: process.Child(argv, stdin=process.PIPE, stdout=process.PIPE, stderr=process.PIPE, cwd="/", env={},
                                                new_session=True, pass_fds=passed))
    try:
        companions.remember(_record(container_id, runroot), child.pid)
        files.write_atomic(_spec(container_id, runroot), jsontext.dumps(
            {"targets": list(targets), "near": list(near), "netns": netns, "mark": mark}).encode())
        listening.close()
        files.write_all(child.stdin, "\n".join(lines).encode())
        child.close_stdin()
    except BaseException:
        child.close()
        child.kill()
        child.wait()
        raise
    return Forwarding(child)


def down(container_id: str, runroot: str) -> None:
    """End the container's forwarder; idempotent."""
    companions.end(_record(container_id, runroot))
    try:
        os.unlink(_spec(container_id, runroot))
    except FileNotFoundError:
        return


def targets_of(container_id: str, runroot: str) -> list[str]:
    """The addresses that the container's ports lead to; none where nothing is forwarded."""
    try:
        found: list[str] = jsontext.loads(files.read_bytes(_spec(container_id, runroot)))["targets"]
    except FileNotFoundError:
        return []
    return found


def reload(container_id: str, ports: Iterable[PortMapping], *, runroot: str, life: int) -> None:
    """Start the forwarder of a running container again as it was, if it was killed."""
    if companions.find(_record(container_id, runroot)) is not None:
        return
    spec = jsontext.loads(files.read_bytes(_spec(container_id, runroot)))
    listening = Listening(ports, owner_of=dict)
    try:
        begin(container_id, listening, spec["targets"], netns=spec["netns"], runroot=runroot, life=life, near=spec["near"],
              mark=spec["mark"]).finish()
    finally:
        listening.close()


def _record(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/forward-{container_id}"


def _spec(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/forwarding-{container_id}.json"
