"""Clients keep their addresses: what a namespace needs so that answers to them come back to our forwarder in it.

The forwarder connects from the client's own address (IP_TRANSPARENT), which is not an address of the namespace, so that answers to it
would leave by the default route. A rule has packets with the mark ``HERE`` delivered here. How answers get it:

- Where the container is in the same namespace, the forwarder's sockets have it, and a connection has the mark of the packet that
  opened it (``tcp_fwmark_accept``).
- Where it is behind a bridge, the forwarder's sockets have another, ``BRIDGED``, which the connection tracker keeps and by which it
  knows the answers (:func:`track`).

No packet but those of the forwarder's connections has a mark.
"""

from __future__ import annotations

import os

from podling import log
from podling.errors import PodlingError, explain
from podling.linux import netlink, process
from podling.linux.syscalls import BYTE_ORDER
from podling.network import programs
from podling.network.namespaces import inside

# Marks of the forwarder's sockets: the container is in the same namespace, or behind a bridge. They have none of the bits that netavark
# (0x2000) and Kubernetes (0x4000, 0x8000) test.
HERE, BRIDGED = 0x700D01, 0x700D02
_TABLE = HERE
_NEWROUTE, _NEWRULE = 24, 32
_INET, _INET6 = 2, 10
_EEXIST = 17
_LOOPBACK = 1                      # its index, in every namespace
_ACCEPT = "/proc/sys/net/ipv4/tcp_fwmark_accept"
_TRACKING = f"""
table inet podling_clients
delete table inet podling_clients
table inet podling_clients {{
    chain leaving {{ type filter hook output priority mangle; meta mark {BRIDGED} ct mark set {BRIDGED}; }}
    chain arriving {{ type filter hook prerouting priority mangle; ct direction reply ct mark {BRIDGED} meta mark set {HERE}; }}
}}
"""


def prepare(netns: str) -> bool:
    """Have marked packets of the namespace delivered in it; False where the kernel cannot: clients lose their addresses then."""
    try:
        inside(netns, _prepare_here)
    except (PodlingError, OSError) as error:
        log.debug(f"clients do not keep their addresses: {explain(error)}")
        return False
    return True


def _prepare_here() -> None:
    fd = os.open(_ACCEPT, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)
    with netlink.Connection(netlink.ROUTE) as route:
        families = (_INET, _INET6) if os.path.exists("/proc/net/if_inet6") else (_INET,)
        route.run([request for family in families for request in (_rule(family), _local(family))])


def track(netns: str) -> bool:
    """Have the connection tracker of the namespace mark answers to marked connections; False where it cannot."""
    try:
        inside(netns, lambda: process.run([programs.find("nft") or "nft", "-f", "-"], input=_TRACKING.encode(), timeout=30.0))
    except (PodlingError, OSError) as error:
        log.debug(f"clients of bridged containers do not keep their addresses: {explain(error)}")
        return False
    return True


def _rule(family: int) -> netlink.Request:
    """Packets with the mark are routed by a table of their own."""
    body = bytes((family, 0, 0, 0, 0, 0, 0, 1)) + bytes(4)                    # FR_ACT_TO_TBL
    body += netlink.u32(10, HERE) + netlink.u32(15, _TABLE) + netlink.u32(6, 100)     # FRA_FWMARK, FRA_TABLE, FRA_PRIORITY
    return netlink.Request(_NEWRULE, body, flags=netlink.CREATE | netlink.EXCLUSIVE, what="adding a rule for marked packets",
                           fine=(_EEXIST,))


def _local(family: int) -> netlink.Request:
    """In that table every address is here."""
    body = bytes((family, 0, 0, 0, 0, 4, 254, 2)) + bytes(4)                  # RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL
    body += netlink.u32(15, _TABLE) + netlink.attribute(4, _LOOPBACK.to_bytes(4, BYTE_ORDER))      # RTA_TABLE, RTA_OIF
    return netlink.Request(_NEWROUTE, body, flags=netlink.CREATE | netlink.REPLACE, what="adding a route for marked packets")
