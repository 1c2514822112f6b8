"""What of interfaces, addresses and routes this process' network namespace has, so that a new network clashes with none of it.

Read from /proc, which a process may read in its own namespace without netlink. The files' formats are in
Documentation/networking of the kernel and in proc(5).
"""

from __future__ import annotations

from fcntl import ioctl

from podling.network.addresses import Range, parse_subnet
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
else:
    import _socket

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_ADDRESS_AT = 20             # of the IPv4 address in a struct ifreq that holds a sockaddr_in


class HostNetworks(Record):
    """The names of the host's interfaces, the subnets of their addresses, and the subnets that it has routes to."""

    interfaces: tuple[str, ...] = ()
    subnets: tuple[Range, ...] = ()
    routed: tuple[Range, ...] = ()


def look() -> HostNetworks:
    """What is there now."""
    interfaces = tuple(line.partition(":")[0].strip() for line in _lines("/proc/self/net/dev")[2:])
    return HostNetworks(interfaces=interfaces, subnets=(*_subnets4(interfaces), *_subnets6()), routed=(*_routed4(), *_routed6()))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:                    # a kernel without IPv6
        return []


def _subnets4(interfaces: tuple[str, ...]) -> list[Range]:
    """The subnet of each interface's first IPv4 address; further ones are among the routes."""
    found = []
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        for name in interfaces:
            try:
                address, mask = (_ask(sock.fileno(), request, name) for request in (_SIOCGIFADDR, _SIOCGIFNETMASK))
            except OSError:                      # it has none, or is gone
                continue
            found.append(Range(first=address & mask, prefix=mask.bit_count(), version=4))
    finally:
        sock.close()
    return found


def _ask(fd: int, request: int, name: str) -> int:
    answer = ioctl(fd, request, name.encode("utf-8", "surrogateescape").ljust(40, b"\0"))
    return int.from_bytes(answer[_ADDRESS_AT:_ADDRESS_AT + 4], "big")


def _subnets6() -> list[Range]:
    """The subnets of IPv6 addresses, without those that every interface has (fe80::/64)."""
    found = []
    for line in _lines("/proc/self/net/if_inet6"):
        address, _, prefix, scope, *_ = line.split()
        if scope != "20":                        # IPV6_ADDR_LINKLOCAL
            found.append(_range6(address, int(prefix, 16)))
    return found


def _routed4() -> list[Range]:
    found = []
    for line in _lines("/proc/self/net/route")[1:]:
        fields = line.split("\t")
        destination, mask = (int.from_bytes(bytes.fromhex(fields[index].strip())[::-1], "big") for index in (1, 7))
        if mask:                                 # the default route is no reason to avoid anything
            found.append(Range(first=destination & mask, prefix=mask.bit_count(), version=4))
    return found


def _routed6() -> list[Range]:
    found = []
    for line in _lines("/proc/self/net/ipv6_route"):
        destination, prefix, *_ = line.split()
        length = int(prefix, 16)
        if length and destination[:2] not in ("fe", "ff"):      # link-local and multicast
            found.append(_range6(destination, length))
    return found


def _range6(digits: str, prefix: int) -> Range:
    return parse_subnet(":".join(digits[index:index + 4] for index in range(0, 32, 4)) + f"/{prefix}")
