"""Addresses of this host: those that it talks to the outside from, and all of them."""

from __future__ import annotations

from podling.linux import netlink, rtnetlink
from podling.linux.syscalls import BYTE_ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
else:
    import _socket  # `socket` takes 5 ms

_GETADDR = 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_LINK_LOCAL, _HOST = 253, 254
_OUTSIDE = ((_socket.AF_INET, "192.0.2.1"), (_socket.AF_INET6, "2001:db8::1"))


def outward_addresses() -> tuple[str, ...]:
    """The address, one a version, from which packets to the outside leave. Nothing is sent."""
    found = []
    for family, outside in _OUTSIDE:
        try:
            probe = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        except OSError:
            continue
        try:
            probe.connect((outside, 9))
            found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
        finally:
            probe.close()
    return tuple(found)


def default_interface() -> str:
    """The interface of the IPv4 default route of the lowest metric, "" where there is none."""
    routes = []
    with open("/proc/thread-self/net/route", encoding="ascii", errors="surrogateescape") as file:     # proc_net(5)
        for line in file.read().splitlines()[1:]:
            name, destination, _, _, _, _, metric, mask, *_ = line.split()
            if int(destination, 16) == int(mask, 16) == 0:
                routes.append((int(metric), name))
    return min(routes)[1] if routes else ""


def local_addresses() -> tuple[str, ...]:
    """Every address of this network namespace that others can reach, IPv4 first."""
    return _addresses(0)


def addresses_on(name: str) -> tuple[str, ...]:
    """As :func:`local_addresses`, of one interface; none where it is not there."""
    with netlink.Connection(netlink.ROUTE) as route:
        link = rtnetlink.find_link(route, name)
    return _addresses(link.index) if link is not None else ()


def _addresses(interface: int) -> tuple[str, ...]:
    with netlink.Connection(netlink.ROUTE) as route:
        answers = route.ask(netlink.Request(_GETADDR, bytes(8), what="listing addresses"), dump=True)
    found = []
    for body in answers:
        family, scope = body[0], body[3]
        content = netlink.attributes(body[8:])
        packed = content.get(_IFA_LOCAL) or content.get(_IFA_ADDRESS) or b""
        index = int.from_bytes(body[4:8], BYTE_ORDER)
        if packed and scope not in (_HOST, _LINK_LOCAL) and index != 1 and interface in (0, index):
            found.append((family, _socket.inet_ntop(family, packed)))
    return tuple(address for _, address in sorted(found, key=lambda each: each[0]))
