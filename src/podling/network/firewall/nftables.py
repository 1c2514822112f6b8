"""The firewall by nftables, in the table ``inet podling`` of our own.

The rules never change: they are loaded once, by the program nft, whose language can be read. A network is a handful of elements of
their sets, a published port is one element of a map, a run of ports too. Elements are added and deleted by netlink messages of our
own, one transaction a container, in a fifth of a millisecond, where a call of nft takes three.

The kernel frees what was deleted after all its readers have moved on, and makes the process that closes a netlink socket before that
wait for it, 8 to 15 ms. So the socket of a deletion is kept open: whoever sweeps up in the background inherits it.
"""

from __future__ import annotations

import os

from podling import log
from podling.errors import PodlingError
from podling.linux import process
from podling.linux.netlink import CREATE, NETFILTER, Connection, KernelRefused, Request, attribute, nested, text
from podling.network import programs
from podling.network.addresses import parse_address, parse_subnet
from podling.network.firewall import hostfilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.network.firewall import Forward, NetworkRules

TABLE = "podling"
FRAME = """
table inet podling {
    comment "containers of podling: made and removed by it"
    map ports4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags interval; }
    map ports6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; flags interval; }
    map same4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr; flags interval; }
    map same6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr; flags interval; }
    set within4 { type ipv4_addr . ipv4_addr; flags interval; }
    set within6 { type ipv6_addr . ipv6_addr; flags interval; }
    set outward4 { type ipv4_addr . ipv4_addr; flags interval; }
    set outward6 { type ipv6_addr . ipv6_addr; flags interval; }
    set bridges { type ifname; }
    set within { type ifname . ifname; }
    set isolated { type ifname; }
    set strict { type ifname; }
    set internal { type ifname; }

    chain published {
        meta l4proto { tcp, udp, sctp } dnat ip to ip daddr . meta l4proto . th dport map @ports4
        meta l4proto { tcp, udp, sctp } dnat ip to ip daddr . meta l4proto . th dport map @same4
        meta l4proto { tcp, udp, sctp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6
        meta l4proto { tcp, udp, sctp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @same6
    }
    chain prerouting {
        type nat hook prerouting priority -100;
        fib daddr type local jump published
    }
    chain output {
        type nat hook output priority -100;
        fib daddr type local jump published
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        ct status dnat oifname @bridges ip saddr 127.0.0.0/8 masquerade
        ct status dnat ip saddr . ip daddr @within4 masquerade
        ct status dnat ip6 saddr . ip6 daddr @within6 masquerade
        ip saddr . ip daddr @within4 return
        ip6 saddr . ip6 daddr @within6 return
        ip daddr 224.0.0.0/4 return
        ip6 daddr ff00::/8 return
        ip saddr . ip daddr @outward4 masquerade
        ip6 saddr . ip6 daddr @outward6 masquerade
    }
    chain forward {
        type filter hook forward priority 0;
        iifname . oifname @within accept
        iifname @internal drop
        oifname @internal drop
        iifname @strict oifname @bridges drop
        iifname @bridges oifname @strict drop
        iifname @isolated oifname @isolated drop
    }
}
"""

_SUBSYSTEM = 10
_DELTABLE, _GETTABLE, _NEWSETELEM, _DELSETELEM = 2, 1, 12, 14
_NEWTABLE = 0
_INET = 1
_ELEMENT, _KEY, _DATA, _KEY_END, _VALUE = 1, 1, 2, 10, 1
_ENOENT, _EEXIST = 2, 17
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_ELEMENTS_AT_ONCE = 200                # of some 80 bytes: an attribute has at most 64 KiB
_NAME = 16                             # bytes of an interface's name

if TYPE_CHECKING:
    Element = tuple[bytes, bytes, bytes]      # first key, last key or empty, value or empty

_held: list[Connection] = []


# --- the driver -------------------------------------------------------------------------------------------------------


def works() -> bool:
    """Whether this kernel has nftables and the program is there."""
    if programs.find("nft") is None:
        return False
    try:
        with Connection(NETFILTER) as netfilter:
            netfilter.ask(_table(_GETTABLE))
    except KernelRefused as error:
        return error.errno == _ENOENT              # there are tables, but none of ours
    except PodlingError:
        return False
    return True


def add(network: NetworkRules, forwards: Iterable[Forward]) -> None:
    """A network's rules and ports; what is there already stays."""
    requests = [_elements(_NEWSETELEM, name, found) for name, found in _all_elements(network, forwards)]
    with Connection(NETFILTER) as netfilter:
        try:
            netfilter.transact(_SUBSYSTEM, requests)
        except KernelRefused as error:
            if error.errno != _ENOENT:
                raise
            process.run([programs.find("nft") or "nft", "-f", "-"], input=FRAME.encode())
            netfilter.transact(_SUBSYSTEM, requests)
    hostfilter.let_through(network)


def close(forwards: Iterable[Forward]) -> None:
    """No such ports any more; those that are not there are none either."""
    _delete(_port_elements(forwards))


def remove_network(network: NetworkRules) -> None:
    """No such network any more."""
    _delete(_all_elements(network, ()))
    hostfilter.take_back(network)


def remove_all() -> None:
    """The whole table."""
    _try([_table(_DELTABLE)])


def held() -> tuple[int, ...]:
    """Sockets that are slow to close."""
    return tuple(connection.fd for connection in _held)


def _delete(elements: Iterable[tuple[str, list[Element]]]) -> None:
    elements = list(elements)
    if not elements or _try([_elements(_DELSETELEM, name, found) for name, found in elements]):
        return
    for name, found in elements:                   # one was missing, and nothing was deleted: somebody flushed a part
        for element in found:
            _try([_elements(_DELSETELEM, name, [element])])


def _try(requests: list[Request]) -> bool:
    """Run a transaction of deletions; False where something in it is not there."""
    connection = Connection(NETFILTER)
    _held.append(connection)                       # closing it would wait
    try:
        connection.transact(_SUBSYSTEM, requests)
    except KernelRefused as error:
        if error.errno != _ENOENT:
            raise
        log.debug(f"firewall: {error}")
        return False
    return True


# --- messages ---------------------------------------------------------------------------------------------------------


def _head() -> bytes:
    return bytes((_INET, 0, 0, 0))


def _table(kind: int) -> Request:
    return Request(_SUBSYSTEM << 8 | kind, _head() + text(1, TABLE), what=f"nftables: table inet {TABLE}")


def _elements(kind: int, name: str, elements: list[Element]) -> Request:
    """Add or delete elements of one set or map."""
    listed = [nested(_ELEMENT, *_element(element)) for element in elements]
    return Request(_SUBSYSTEM << 8 | kind, _head() + text(1, TABLE) + text(2, name) + nested(3, *listed),
                   flags=CREATE if kind == _NEWSETELEM else 0, what=f"nftables: elements of {name}")


def _element(element: Element) -> Iterable[bytes]:
    first, last, value = element
    yield nested(_KEY, attribute(_VALUE, first))
    if last:
        yield nested(_KEY_END, attribute(_VALUE, last))
    if value:
        yield nested(_DATA, attribute(_VALUE, value))


# --- elements ---------------------------------------------------------------------------------------------------------


def _all_elements(network: NetworkRules, forwards: Iterable[Forward]) -> list[tuple[str, list[Element]]]:
    return [*_network_elements(network), *_port_elements((*network.redirected, *forwards))]


def _network_elements(network: NetworkRules) -> list[tuple[str, list[Element]]]:
    """(set, elements) of a network."""
    name = os.fsencode(network.interface).ljust(_NAME, b"\0")
    found: list[tuple[str, list[Element]]] = [("bridges", [(name, b"", b"")]), ("within", [(name + name, b"", b"")])]
    for kind, wanted in (("isolated", network.isolate == "true"), ("strict", network.isolate == "strict"),
                         ("internal", network.internal)):
        if wanted:
            found.append((kind, [(name, b"", b"")]))
    for text_of in network.subnets:
        subnet = parse_subnet(text_of)
        size = subnet.bits // 8
        first, last = subnet.first.to_bytes(size, "big"), subnet.last.to_bytes(size, "big")
        found.append((f"within{subnet.version}", [(first * 2, last * 2, b"")]))
        if network.masquerade and not network.internal:
            found.append((f"outward{subnet.version}", [(first + bytes(size), last + b"\xff" * size, b"")]))
    return found


def _port_elements(forwards: Iterable[Forward]) -> list[tuple[str, list[Element]]]:
    """(map, elements) of published ports. A run of ports that keep their numbers is one element, others are one a port."""
    maps: dict[str, list[Element]] = {}
    for forward in forwards:
        number, version = parse_address(forward.address)
        size = 4 if version == 4 else 16
        address = number.to_bytes(size, "big")
        lowest, highest = bytes(size), b"\xff" * size
        if forward.host_ip:
            lowest = highest = parse_address(forward.host_ip)[0].to_bytes(size, "big")
        middle = bytes((_PROTOCOLS[forward.protocol], 0, 0, 0))
        if forward.host_port == forward.container_port:
            maps.setdefault(f"same{version}", []).append(
                (lowest + middle + _port(forward.host_port),
                 highest + middle + _port(forward.host_port + forward.length - 1), address))
            continue
        for at in range(forward.length):
            port = _port(forward.host_port + at)
            maps.setdefault(f"ports{version}", []).append(
                (lowest + middle + port, highest + middle + port, address + _port(forward.container_port + at)))
    return [(name, found[at:at + _ELEMENTS_AT_ONCE]) for name, found in maps.items()
            for at in range(0, len(found), _ELEMENTS_AT_ONCE)]


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big") + bytes(2)
