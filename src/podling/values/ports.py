"""Published and exposed ports: ``8080:80/udp`` <-> :class:`PortMapping`, ``80-82/tcp`` -> ``80/tcp``, ``81/tcp``, ..."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record
from podling.values.addresses import parse_ip
from podling.values.gotext import parse_int, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp", "sctp")
_LAST_PORT = 65535


class PortMapping(Record):
    """A run of host ports forwarded to container ports.

    ``host_port`` 0 means: a free one is chosen when the container is made. ``length`` ports follow one another on both
    sides. ``host_ip`` "" means every address.
    """

    container_port: int
    host_port: int = 0
    length: int = 1
    protocol: str = "tcp"
    host_ip: str = ""

    def __str__(self) -> str:
        """The ``--publish`` text that :func:`parse_publish` reads back."""
        host = _range(self.host_port, self.length) if self.host_port else ""
        address = f"[{self.host_ip}]:" if ":" in self.host_ip else f"{self.host_ip}:" if self.host_ip else ""
        before = f"{address}{host}:" if host or address else ""
        return f"{before}{_range(self.container_port, self.length)}/{self.protocol}"


# --- publishing -------------------------------------------------------------------------------------------------------


def parse_publish(text: str) -> PortMapping:
    """One ``--publish``: ``[[hostIP:][hostPort[-end]]:]containerPort[-end][/protocol]``; InvalidArgument in Podman's words.

    An IPv6 address stands in brackets. ``0.0.0.0`` is the same as no address.
    """
    ports, slash, protocol = text.partition("/")
    if "/" in protocol:
        raise InvalidArgument("invalid port format - protocol can only be specified once")
    host_ip, host_port, container_port = _split_publish(ports)
    if not container_port:
        raise InvalidArgument("must provide a non-empty container port to publish")
    start, length = _parse_range(container_port, "parsing container port")
    if slash and not protocol:
        raise InvalidArgument("must provide a non-empty protocol to publish")
    address = "" if host_ip is None else _parse_host_ip(host_ip)
    host_start = 0
    if host_port:
        host_start, host_length = _parse_range(host_port, "parsing host port")
        if host_length != length:
            raise InvalidArgument(f"host and container port ranges have different lengths: {host_length} vs {length}")
    return PortMapping(container_port=start, host_port=host_start, length=length, host_ip=address,
                       protocol=_parse_protocol(protocol) if slash else "tcp")


def _split_publish(text: str) -> tuple[str | None, str | None, str]:
    """(host address, host port, container port) of what stands before the protocol; None where a part is absent."""
    host_ip: str | None = None
    if "]" in text:
        address, _, text = text.partition("]")
        if "]" in text:
            raise InvalidArgument("invalid port format - at most one IPv6 address can be specified in a --publish")
        if not address.startswith("["):
            raise InvalidArgument("invalid port format - IPv6 addresses must be enclosed by []")
        if not text.startswith(":"):
            raise InvalidArgument("invalid port format - IPv6 address must be followed by a colon (':')")
        host_ip, text = address[1:], text[1:]
    parts = text.split(":")
    if len(parts) == 1:
        if host_ip is not None:
            raise InvalidArgument("invalid port format - must provide host and destination port if specifying an IP")
        return None, None, parts[0]
    if len(parts) == 2:
        return host_ip, parts[0], parts[1]
    if len(parts) == 3:
        if host_ip is not None:
            raise InvalidArgument("invalid port format - when v6 address specified, must be [ipv6]:hostPort:ctrPort")
        return parts[0], parts[1], parts[2]
    raise InvalidArgument("invalid port format - format is [[hostIP:]hostPort:]containerPort")


def _parse_host_ip(text: str) -> str:
    if not text:
        raise InvalidArgument("must provide a non-empty container host IP to publish")
    if text == "0.0.0.0":
        return ""
    try:
        return parse_ip(text)
    except InvalidArgument:
        raise InvalidArgument(f"cannot parse {quote(text)} as an IP address") from None


def _parse_protocol(text: str) -> str:
    protocol = text.lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"unrecognized protocol {quote(protocol)} in port mapping")
    return protocol


def _parse_range(text: str, context: str) -> tuple[int, int]:
    """(first port, number of ports); the error begins with ``context`` as Podman's does."""
    try:
        return parse_port_range(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{context}: {error.message}") from None


def parse_port_range(text: str) -> tuple[int, int]:
    """(first port, number of ports) of ``80`` or ``80-85``; InvalidArgument in Podman's words."""
    start_text, dash, end_text = text.partition("-")
    if "-" in end_text:
        raise InvalidArgument("invalid port format - port ranges are formatted as startPort-stopPort")
    if not start_text:
        raise InvalidArgument("port numbers cannot be negative")
    start = _parse_port(start_text)
    if not dash:
        return start, 1
    if not end_text:
        raise InvalidArgument("must provide ending number for port range")
    end = _parse_port(end_text)
    if end <= start:
        raise InvalidArgument("the end port of a range must be higher than the start port - "
                              f"{end} is not higher than {start}")
    return start, end - start + 1


def _parse_port(text: str) -> int:
    try:
        port = parse_int(text, function="Atoi")
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid port number: {error.message}") from None
    if not 1 <= port <= _LAST_PORT:
        raise InvalidArgument(f"port numbers must be between 1 and 65535 (inclusive), got {port}")
    return port


def _range(start: int, length: int) -> str:
    return f"{start}-{start + length - 1}" if length > 1 else str(start)


# --- several ports ----------------------------------------------------------------------------------------------------


def merge_ports(ports: Iterable[PortMapping]) -> tuple[PortMapping, ...]:
    """The mappings with neighbours joined to ranges and duplicates dropped, as Podman stores them.

    Within one address and protocol they are sorted by host port; those whose host port is still to be chosen (0) come last.
    InvalidArgument where one host port of one address would lead to two container ports.
    """
    groups: dict[tuple[str, str], list[PortMapping]] = {}
    for port in ports:
        groups.setdefault((port.host_ip, port.protocol), []).append(port)
    merged: list[PortMapping] = []
    for group in groups.values():
        fixed = sorted((port for port in group if port.host_port), key=lambda port: (port.host_port, port.container_port))
        merged += _join(fixed)
        free = sorted((port for port in group if not port.host_port), key=lambda port: port.container_port)
        merged += _join_free(free)
    return tuple(merged)


def _join(ports: list[PortMapping]) -> list[PortMapping]:
    joined: list[PortMapping] = []
    for port in ports:
        previous = joined[-1] if joined else None
        if previous is None or previous.host_port + previous.length < port.host_port:
            joined.append(port)
            continue
        distance = port.host_port - previous.host_port
        if distance == port.container_port - previous.container_port:
            joined[-1] = previous.replace(length=max(previous.length, port.length + distance))
        elif distance < previous.length:
            raise InvalidArgument(f"conflicting port mappings for host port {port.host_port} (protocol {port.protocol})")
        else:
            joined.append(port)
    return joined


def _join_free(ports: list[PortMapping]) -> list[PortMapping]:
    joined: list[PortMapping] = []
    for port in ports:
        previous = joined[-1] if joined else None
        if previous is None or previous.container_port + previous.length <= port.container_port:
            joined.append(port)
        else:
            distance = port.container_port - previous.container_port
            joined[-1] = previous.replace(length=max(previous.length, port.length + distance))
    return joined


def overlap(one: PortMapping, other: PortMapping) -> bool:
    """Whether two mappings claim a common host port on a common address (an address of "" is every address)."""
    if one.protocol != other.protocol or not one.host_port or not other.host_port:
        return False
    if one.host_ip and other.host_ip and one.host_ip != other.host_ip:
        return False
    return one.host_port < other.host_port + other.length and other.host_port < one.host_port + one.length


# --- exposing ---------------------------------------------------------------------------------------------------------


def parse_expose(text: str) -> tuple[str, ...]:
    """The ports of an ``--expose`` or an image's EXPOSE, each as ``80/tcp``: ``80``, ``80/udp``, ``80-85/tcp``."""
    ports, _, protocol = text.partition("/")
    if "/" in protocol:
        raise InvalidArgument("invalid expose format - protocol can only be specified once")
    start, length = _parse_range(ports, f"invalid range format for --expose: {text}")
    protocol = _parse_protocol(protocol) if protocol else "tcp"
    return tuple(f"{port}/{protocol}" for port in range(start, start + length))


def split_exposed(exposed: str) -> tuple[int, str]:
    """(port, protocol) of one exposed port as :func:`parse_expose` gives it."""
    port, _, protocol = exposed.partition("/")
    return int(port), protocol


# --- showing ----------------------------------------------------------------------------------------------------------


def format_ports(ports: Iterable[PortMapping], exposed: Iterable[str] = ()) -> str:
    """The PORTS column of ``podman ps``: ``0.0.0.0:8080->80/tcp, 53/udp``.

    ``exposed`` are ports (``80/tcp``) that the container exposes; those that are published are not repeated, neighbours
    are joined to a range.
    """
    shown: list[str] = []
    published: set[tuple[str, int]] = set()
    for port in ports:
        host = _range(port.host_port, port.length)
        shown.append(f"{port.host_ip or '0.0.0.0'}:{host}->{_range(port.container_port, port.length)}/{port.protocol}")
        published.update((port.protocol, port.container_port + index) for index in range(port.length))
    rest = {(protocol, port) for port, protocol in map(split_exposed, exposed)} - published
    shown += _format_exposed(sorted(rest))
    return ", ".join(shown)


def _format_exposed(ports: list[tuple[str, int]]) -> list[str]:
    """Sorted exposed ports with neighbours joined: ``80-82/tcp``."""
    runs: list[tuple[str, int, int]] = []
    for protocol, port in ports:
        if runs and runs[-1][0] == protocol and runs[-1][1] + runs[-1][2] == port:
            runs[-1] = (protocol, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((protocol, port, 1))
    return [f"{_range(start, length)}/{protocol}" for protocol, start, length in runs]
