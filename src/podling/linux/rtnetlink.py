"""Requests to the kernel about interfaces, addresses and routes (rtnetlink(7)), and what it answers."""

from __future__ import annotations

from podling.linux.netlink import APPEND, CREATE, EXCLUSIVE, Connection, Request, attribute, attributes, nested, text, u8, u32
from podling.linux.syscalls import BYTE_ORDER
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
else:
    import _socket

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _DELADDR, _NEWROUTE = 20, 21, 24
_UP = 1
EEXIST, ENODEV, ENOENT = 17, 19, 2

# attributes of an interface, of its kind, of a bridge
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _AF_SPEC, _NET_NS_FD = 1, 3, 4, 10, 18, 26, 28
_KIND, _DATA, _VETH_PEER = 1, 2, 1
_BR_VLAN_FILTERING, _BR_VLAN_DEFAULT_PVID = 7, 39
_BRIDGE_FLAGS, _BRIDGE_VLAN_INFO = 0, 2
_AF_BRIDGE, _BRIDGE_FLAG_SELF = 7, 2
_VLAN_PVID, _VLAN_UNTAGGED = 2, 4
_PROTINFO, _BRPORT_MODE = 12, 4
_EXT_MASK, _SKIP_STATISTICS = 29, 8

_NODAD = 2                    # no duplicate address detection: an IPv6 address is usable at once
_UNIVERSE, _LINK = 0, 253     # scopes
_UNICAST, _STATIC, _MAIN = 1, 4, 254


class Link(Record):
    """A network interface as the kernel describes it."""

    index: int
    name: str
    up: bool
    mac_address: str
    mtu: int


class Veth(Record):
    """A pair of interfaces: ``name`` here, a port of ``master``; ``peer`` in the namespace behind ``peer_netns``.

    ``mac_address`` "" and ``mtu`` 0 are the kernel's choice.
    """

    name: str
    peer: str
    peer_netns: int
    master: int = 0
    mac_address: str = ""
    mtu: int = 0


def _ifinfo(index: int = 0, *, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return (family.to_bytes(4, BYTE_ORDER) + index.to_bytes(4, BYTE_ORDER) + flags.to_bytes(4, BYTE_ORDER)
            + change.to_bytes(4, BYTE_ORDER))


def bytes_of_mac(mac: str) -> bytes:
    """The six bytes of a hardware address."""
    return bytes.fromhex(mac.replace(":", "").replace("-", ""))


# --- interfaces -------------------------------------------------------------------------------------------------------


def bridge(name: str, *, mtu: int = 0, vlan: int = 0, master: int = 0) -> Request:
    """Make a bridge that is up; one that is there already is fine. ``vlan``: it tells apart VLANs, and is itself in this one."""
    data = nested(_DATA, u8(_BR_VLAN_FILTERING, 1), attribute(_BR_VLAN_DEFAULT_PVID, vlan.to_bytes(2, BYTE_ORDER))) if vlan else b""
    body = _ifinfo(flags=_UP, change=_UP) + text(_IFNAME, name)
    if mtu:
        body += u32(_MTU, mtu)
    if master:
        body += u32(_MASTER, master)
    body += nested(_LINKINFO, text(_KIND, "bridge"), data)
    return Request(_NEWLINK, body, flags=CREATE | EXCLUSIVE, what=f"creating the bridge {name}", fine=(EEXIST,))


def veth(pair: Veth) -> Request:
    """Make a pair of interfaces, this side up, the other side down and already in its namespace."""
    peer = _ifinfo() + text(_IFNAME, pair.peer)
    if pair.mac_address:
        peer += attribute(_ADDRESS, bytes_of_mac(pair.mac_address))
    if pair.mtu:
        peer += u32(_MTU, pair.mtu)
    peer += u32(_NET_NS_FD, pair.peer_netns)
    body = _ifinfo(flags=_UP, change=_UP)
    body += text(_IFNAME, pair.name)
    if pair.mtu:
        body += u32(_MTU, pair.mtu)
    if pair.master:
        body += u32(_MASTER, pair.master)
    body += nested(_LINKINFO, text(_KIND, "veth"), nested(_DATA, nested(_VETH_PEER, peer)))
    return Request(_NEWLINK, body, flags=CREATE | EXCLUSIVE, what=f"creating the interface {pair.peer}")


def up(index: int) -> Request:
    """Bring an interface up."""
    return Request(_NEWLINK, _ifinfo(index, flags=_UP, change=_UP), what="bringing an interface up")


def pin(link: Link) -> Request:
    """An interface's hardware address is the one that was set: that of a bridge follows its ports no longer."""
    return Request(_NEWLINK, _ifinfo(link.index) + attribute(_ADDRESS, bytes_of_mac(link.mac_address)),
                   what=f"keeping the hardware address of {link.name}")


def delete_link(index: int) -> Request:
    """Delete an interface, and with it its peer; one that is gone is fine."""
    return Request(_DELLINK, _ifinfo(index), what="deleting an interface", fine=(ENODEV,))


def port_vlan(index: int, vlan: int) -> Request:
    """Put a bridge's port into a VLAN, untagged."""
    info = (_VLAN_PVID | _VLAN_UNTAGGED).to_bytes(2, BYTE_ORDER) + vlan.to_bytes(2, BYTE_ORDER)
    body = _ifinfo(index, family=_AF_BRIDGE) + nested(_AF_SPEC, attribute(_BRIDGE_VLAN_INFO, info))
    return Request(_SETLINK, body, what=f"putting an interface into VLAN {vlan}")


def hairpin(index: int) -> Request:
    """Have a bridge send packets back to the port that they came from: a container reaches itself by its published port."""
    body = _ifinfo(index, family=_AF_BRIDGE) + nested(_PROTINFO, u8(_BRPORT_MODE, 1))
    return Request(_SETLINK, body, what="allowing a bridge's port to reach itself")


def find_link(route: Connection, name: str) -> Link | None:
    """The interface of this name; None where there is none."""
    answers = route.ask(Request(_GETLINK, _ifinfo() + text(_IFNAME, name), what=f"looking for the interface {name}", fine=(ENODEV,)))
    return parse_link(answers[0]) if answers else None


def count_ports(route: Connection, master: int) -> int:
    """How many interfaces are ports of a bridge."""
    body = _ifinfo() + u32(_MASTER, master) + u32(_EXT_MASK, _SKIP_STATISTICS)
    return len(route.ask(Request(_GETLINK, body, what="listing the ports of a bridge"), dump=True))


def parse_link(body: bytes) -> Link:
    """An interface from the kernel's message."""
    found = attributes(body[16:])
    return Link(index=int.from_bytes(body[4:8], BYTE_ORDER), name=found[_IFNAME].rstrip(b"\0").decode(errors="surrogateescape"),
                up=bool(int.from_bytes(body[8:12], BYTE_ORDER) & _UP), mac_address=found.get(_ADDRESS, b"").hex(":"),
                mtu=int.from_bytes(found.get(_MTU, b"\0"), BYTE_ORDER))


# --- addresses and routes ---------------------------------------------------------------------------------------------


def _packed(address: str) -> tuple[int, bytes]:
    """(family, bytes) of an address."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    return int(family), _socket.inet_pton(family, address)


def add_address(index: int, address: str, prefix: int) -> Request:
    """Give an interface an address, usable at once; one that it has already is fine."""
    family, packed = _packed(address)
    head = bytes((family, prefix, _NODAD if family == _socket.AF_INET6 else 0, _UNIVERSE)) + index.to_bytes(4, BYTE_ORDER)
    body = head + attribute(1, packed) + attribute(2, packed)             # IFA_ADDRESS, IFA_LOCAL
    if family == _socket.AF_INET and prefix < 31:
        number = int.from_bytes(packed, "big") | ((1 << (32 - prefix)) - 1)
        body += attribute(4, number.to_bytes(4, "big"))                   # IFA_BROADCAST
    return Request(_NEWADDR, body, flags=CREATE | EXCLUSIVE, what=f"adding the address {address}/{prefix}", fine=(EEXIST,))


def add_route(destination: str, gateway: str, *, index: int = 0, metric: int = 0) -> Request:
    """A route to ``destination`` ("" or a subnet) over ``gateway``; one that is there already is fine.

    One of the same metric over another gateway stays, and stays the one that is taken: it counts again when that network is left.
    """
    family, via = _packed(gateway)
    address, _, prefix = destination.partition("/")
    length = int(prefix) if prefix else 0
    body = bytes((family, length, 0, 0, _MAIN, _STATIC, _UNIVERSE, _UNICAST)) + bytes(4)
    if length:
        body += attribute(1, _packed(address)[1])                         # RTA_DST
    body += attribute(5, via)                                             # RTA_GATEWAY
    if index:
        body += u32(4, index)                                             # RTA_OIF
    if metric:
        body += u32(6, metric)                                            # RTA_PRIORITY
    return Request(_NEWROUTE, body, flags=CREATE | APPEND, fine=(EEXIST,),
                   what=f"adding the route to {destination or 'everywhere'} over {gateway}")
