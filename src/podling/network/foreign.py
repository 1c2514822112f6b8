"""Addresses that other engines have given on a bridge of ours: Podman and we know the same networks, but not each other's leases.

Where a bridge has more ports than we have containers on it, an address is asked for (ARP, RFC 826) before it is used. Only IPv4 is asked
for, and only as root: an ordinary user's bridges are each engine's own.
"""

from __future__ import annotations

import time

from podling.errors import InUse
from podling.linux import netlink, rootless, rtnetlink
from podling.linux.rtnetlink import bytes_of_mac
from podling.network.bridge import members

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket

    from podling.linux.rtnetlink import Link
    from podling.model import ContainerConfig
    from podling.network.leases import Leases
    from podling.network.plan import Joined
else:
    import _socket  # `socket` takes 5 ms

_ARP, _REQUEST, _REPLY = 0x0806, 1, 2
_SECONDS = 0.005             # a container's kernel answers in some microseconds


def avoid(config: ContainerConfig, joined: tuple[Joined, ...], leases: Leases, *, runroot: str) -> tuple[Joined, ...]:
    """The networks with addresses that nobody else answers for. InUse for a static one that somebody has."""
    return joined if rootless.owner() else tuple(_avoid(config, each, leases, runroot) for each in joined)


def _avoid(config: ContainerConfig, joined: Joined, leases: Leases, runroot: str) -> Joined:
    network, static = joined.network, joined.attachment.static_ips
    bridge = _shared(joined, runroot)
    others: tuple[str, ...] = ()
    while bridge is not None and (busy := tuple(each for each in joined.addresses if ":" not in each and _answers(bridge, each))):
        leases.release_one(network.name, config.id)
        if taken := [address for address in busy if address in static]:
            raise InUse(f"IPAM error: requested ip address {taken[0]} is already used on {network.interface} by another engine's container")
        others += busy
        joined = joined.replace(addresses=leases.take(network, config.id, static, others=others))
    return joined


def _shared(joined: Joined, runroot: str) -> Link | None:
    """The network's bridge where others than our containers are on it."""
    if joined.network.driver != "bridge" or not joined.addresses:
        return None
    with netlink.Connection(netlink.ROUTE) as route:
        link = rtnetlink.find_link(route, joined.network.interface)
        if link is None or rtnetlink.count_ports(route, link.index) <= len(members.of_network(runroot, joined.network.name)):
            return None
    return link


def _answers(bridge: Link, address: str) -> bool:
    """Whether somebody on the bridge has the address."""
    wanted, mac = _socket.inet_pton(_socket.AF_INET, address), bytes_of_mac(bridge.mac_address)
    head = b"\0\1\x08\0\6\4"
    sock = _socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, _socket.htons(_ARP))
    try:
        sock.bind((bridge.name, _ARP))
        sock.sendto(head + _REQUEST.to_bytes(2, "big") + mac + bytes(4) + bytes(6) + wanted, (bridge.name, _ARP, 0, 0, b"\xff" * 6))
        deadline = time.monotonic() + _SECONDS
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            answer = sock.recv(64)
            if answer[6:8] == _REPLY.to_bytes(2, "big") and answer[14:18] == wanted:
                return True
    except OSError:                                # nobody in time, or a bridge that is just going
        return False
    finally:
        sock.close()
    return False
