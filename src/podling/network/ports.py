"""Host ports: chosen where none was named, and held while a container runs."""

from __future__ import annotations

import os

from podling import log
from podling.errors import InUse, InvalidArgument, PodlingError, Refused
from podling.values.ports import PortMapping, split_exposed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable
else:
    import _socket  # `socket` takes 5 ms

_ATTEMPTS = 100


def assign(ports: Iterable[PortMapping], exposed: Iterable[str] = ()) -> tuple[PortMapping, ...]:
    """The mappings with a free host port where they have none; ``exposed`` ports ("80/tcp") are added."""
    found = list(ports)
    covered = {(port.container_port + number, port.protocol) for port in found for number in range(port.length)}
    for text in exposed:
        number, protocol = split_exposed(text)
        if (number, protocol) not in covered:
            found.append(PortMapping(container_port=number, protocol=protocol))
    return tuple(port if port.host_port else port.replace(host_port=_free_port(port)) for port in found)


def _free_port(port: PortMapping) -> int:
    """The first of as many free host ports as the mapping needs."""
    for _ in range(_ATTEMPTS):
        held = []
        try:
            held.append(_bind(port.protocol, port.host_ip, 0))
            first: int = held[0].getsockname()[1]
            if first + port.length - 1 > 65535:
                continue
            held += [_bind(port.protocol, port.host_ip, first + number) for number in range(1, port.length)]
            return first
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
    raise PodlingError(f"failed to find {port.length} free host ports for {port.container_port}/{port.protocol}")


class Reservation:
    """Sockets that keep the host ports of a container from other programs, to be handed to its conmon."""

    def __init__(self, ports: Iterable[PortMapping], *, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
        """``owner_of`` gives (port, protocol) -> name of the container of ours that has it, for the error's sake."""
        self.sockets: list[_socket.socket] = []
        try:
            for port in ports:
                for number in range(port.host_port, port.host_port + port.length):
                    self._hold(port, number, owner_of)
        except BaseException:
            self.close()
            raise

    def _hold(self, port: PortMapping, number: int, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
        if port.protocol not in ("tcp", "udp"):
            return
        try:
            sock = _bind(port.protocol, port.host_ip, number)
            if port.protocol == "tcp":
                sock.listen(1)
        except OSError as error:
            if error.errno == 24:             # more ports than open files: they are forwarded without being held
                log.debug(f"port {number}/{port.protocol} is not held: {error.strerror}")
                return
            raise _port_error(port, number, error, owner_of().get((number, port.protocol), "")) from None
        self.sockets.append(sock)

    @property
    def fds(self) -> tuple[int, ...]:
        """The sockets' descriptors."""
        return tuple(sock.fileno() for sock in self.sockets)

    def close(self) -> None:
        """Let go; conmon has its own."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


def _port_error(port: PortMapping, number: int, error: OSError, owner: str) -> PodlingError:
    words = os.strerror(error.errno or 0).lower()
    version = "6" if ":" in port.host_ip else "4"
    text = (f"cannot listen on the {port.protocol.upper()} port: listen {port.protocol}{version} "
            f"{f'[{port.host_ip}]' if version == '6' else port.host_ip}:{number}: bind: {words}")
    if error.errno == 98:
        hint = (f"container {owner} has it: stop it, or publish another port" if owner
                else f"see who has it with 'ss -lnp sport = :{number}', or publish another port")
        return InUse(text, hint=hint)
    if error.errno == 99:
        return InvalidArgument(text, hint=f"{port.host_ip} is not an address of this host")
    if error.errno == 13 and number < 1024:
        current = _first_unprivileged()
        return Refused(f"rootlessport cannot expose privileged port {number}, you can add "
                       f"'net.ipv4.ip_unprivileged_port_start={number}' to /etc/sysctl.conf (currently {current}), or choose a larger "
                       f"port number (>= {current}): listen {port.protocol} {port.host_ip or '0.0.0.0'}:{number}: bind: {words}")
    return PodlingError(text)


def _first_unprivileged() -> int:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        return int(file.read())


def _bind(protocol: str, host_ip: str, number: int) -> _socket.socket:
    family = _socket.AF_INET6 if ":" in host_ip else _socket.AF_INET
    kind = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM, "sctp": _socket.SOCK_STREAM}[protocol]
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    try:
        if protocol == "tcp":
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.bind((host_ip or "", number))
    except BaseException:
        sock.close()
        raise
    return sock
