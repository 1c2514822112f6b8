"""A new network: what was asked, made complete and checked. Pure but for random numbers.

Free names, subnets and the words of every refusal are Podman's, so that the same command line gives the same network there.
"""

from __future__ import annotations

import os

from podling.errors import AlreadyExists, InvalidArgument, PodlingError
from podling.model import Network, Subnet
from podling.network import driveropts
from podling.network.addresses import Range, format_address, parse_address, parse_subnet
from podling.network.hostnets import HostNetworks
from podling.record import Record
from podling.values.gotext import quote

INTERFACE_PREFIX = "podman"
INTERFACE_LIMIT = 15                             # IFNAMSIZ without its end
DRIVERS = ("bridge", "macvlan", "ipvlan")
RESERVED = ("none", "host", "bridge", "private", "slirp4netns", "pasta", "container", "ns", "default")
NAME_RULE = "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Taken(Record):
    """What is in use already: other networks' definitions, and the host's own."""

    networks: tuple[Network, ...] = ()
    host: HostNetworks = HostNetworks()

    @property
    def subnets(self) -> tuple[Range, ...]:
        """Subnets that no new bridge network may have."""
        defined = (parse_subnet(subnet.subnet) for network in self.networks for subnet in network.subnets)
        return (*defined, *self.host.subnets)

    @property
    def bridges(self) -> set[str]:
        """The interfaces of bridge networks."""
        return {network.interface for network in self.networks if network.driver == "bridge" and network.interface}

    def free_interface(self) -> str:
        """``podman1`` or the first after it that is no interface and no network's name."""
        names = self.bridges | {network.name for network in self.networks} | set(self.host.interfaces)
        return next(name for number in range(1, 1_000_000) if (name := f"{INTERFACE_PREFIX}{number}") not in names)


def is_name(text: str) -> bool:
    """Whether a network, or a bridge, may be called so."""
    return bool(text) and text[0] in _LETTERS and all(letter in _LETTERS or letter in "_.-" for letter in text)


def define(asked: Network, taken: Taken, pools: tuple[tuple[str, int], ...]) -> Network:
    """The whole definition for what was asked, whose name, interface, subnets and IPAM driver may be empty.

    ``pools``: subnets to choose from, each with the prefix of what is cut from it. ``asked.dns_enabled``: unless it makes no sense.
    AlreadyExists, InvalidArgument.
    """
    network = named(asked, taken)
    _check_ipam(network)
    network = _bridge(network, taken, pools) if network.driver == "bridge" else _on_parent(network, taken)
    return complete(network, taken)


def complete(network: Network, taken: Taken) -> Network:
    """Its subnets, DNS servers and routes checked, gateways chosen, its id given: what all drivers' networks have in common."""
    if network.ipam.get("driver") == "none":
        network = network.replace(dns_enabled=False)
    if network.dns_servers and not network.dns_enabled:
        raise InvalidArgument("cannot set NetworkDNSServers if DNS is not enabled for the network: invalid argument")
    check_servers(network.dns_servers, "NetworkDNSServers")
    managed = network.driver == "bridge" and network.options.get("mode") != "unmanaged"      # the host has the others' subnets already
    used = taken.subnets if managed else ()
    gateway = not network.internal or network.dns_enabled
    subnets = tuple(_subnet(subnet, used, gateway=gateway) for subnet in network.subnets)
    return network.replace(id=os.urandom(32).hex(), subnets=subnets,
                           ipv6=network.ipv6 or any(":" in subnet.subnet for subnet in subnets))


def named(asked: Network, taken: Taken) -> Network:
    """With a name, a free one where none was asked for; AlreadyExists, InvalidArgument."""
    name = asked.name
    if name in RESERVED:
        raise InvalidArgument(f'cannot create network with name "{name}" because it conflicts with a valid network mode')
    if name and not is_name(name):
        raise InvalidArgument(f"network name {name} invalid: {NAME_RULE}")
    if any(network.name == name for network in taken.networks):
        raise AlreadyExists(f"network name {name} already used: network already exists")
    if not name:
        name = taken.free_interface()
        if asked.driver == "bridge" and not asked.interface:
            asked = asked.replace(interface=name)
    return asked.replace(name=name)


def check_servers(servers: tuple[str, ...], option: str) -> None:
    """Whether each is an address; InvalidArgument naming the option as Podman calls it."""
    for server in servers:
        try:
            parse_address(server)
        except InvalidArgument:
            raise InvalidArgument(f"unable to parse ip {server} specified in {option}: invalid argument") from None


# --- bridges ----------------------------------------------------------------------------------------------------------


def _bridge(network: Network, taken: Taken, pools: tuple[tuple[str, int], ...]) -> Network:
    options, interface = driveropts.from_docker(network.options)
    interface = interface or network.interface
    options = driveropts.checked("bridge", options)
    if not interface:
        interface = taken.free_interface()
    elif not is_name(interface):
        raise InvalidArgument(f"bridge name {interface} invalid: {NAME_RULE}")
    elif len(interface) > INTERFACE_LIMIT:
        raise InvalidArgument(f"bridge name {interface} invalid: the kernel takes no more than {INTERFACE_LIMIT} characters")
    elif options.get("mode") != "unmanaged" and interface in taken.bridges:
        raise InvalidArgument(f"bridge name {interface} already in use")
    if network.ipam.get("driver") in ("none", "dhcp"):
        return network.replace(interface=interface, options=options)
    return network.replace(interface=interface, options=options, ipam={"driver": "host-local"},
                           subnets=(*network.subnets, *_missing_subnets(network, taken, pools)))


def _missing_subnets(network: Network, taken: Taken, pools: tuple[tuple[str, int], ...]) -> list[Subnet]:
    """The subnets to add: an IPv4 one where none is asked for, and one of each family for ``--ipv6``."""
    families = {6 if ":" in subnet.subnet else 4 for subnet in network.subnets}
    used = (*taken.subnets, *taken.host.routed)
    found = []
    if not families or (network.ipv6 and 4 not in families):
        found.append(free_subnet(pools, used))
    if network.ipv6 and 6 not in families:
        found.append(free_subnet6(used))
    return found


def free_subnet(pools: tuple[tuple[str, int], ...], used: tuple[Range, ...]) -> Subnet:
    """The first subnet of the pools that overlaps with nothing in use."""
    for base, prefix in pools:
        pool = parse_subnet(base)
        first = pool.first
        while first <= pool.last:
            candidate = Range(first=first, prefix=prefix, version=pool.version)
            overlap = next((other for other in used if overlaps(candidate, other)), None)
            if overlap is None:
                return Subnet(subnet=text_of(candidate))
            step = 1 << (candidate.bits - prefix)
            first = max(candidate.last, overlap.last) // step * step + step      # behind what is in the way
    raise PodlingError("could not find free subnet from subnet pools", hint="name one with --subnet, or remove networks: network prune")


def free_subnet6(used: tuple[Range, ...]) -> Subnet:
    """A random /64 of fd00::/8, as RFC 4193 wants it."""
    for _ in range(10_000):
        number = int.from_bytes(b"\xfd" + os.urandom(7), "big") << 64
        candidate = Range(first=number, prefix=64, version=6)
        if not any(overlaps(candidate, other) for other in used):
            return Subnet(subnet=text_of(candidate))
    raise PodlingError("failed to get random ipv6 subnet")


def overlaps(one: Range, other: Range) -> bool:
    """Whether two subnets share an address."""
    return one.version == other.version and one.first <= other.last and other.first <= one.last


def text_of(subnet: Range) -> str:
    """``10.89.0.0/24``."""
    return f"{format_address(subnet.first, subnet.version)}/{subnet.prefix}"


def _subnet(asked: Subnet, used: tuple[Range, ...], *, gateway: bool) -> Subnet:
    """The subnet in its normal form with its gateway; InvalidArgument for one that is in use or whose parts are not in it."""
    parsed = parse_subnet(asked.subnet)
    text = text_of(parsed)
    if any(overlaps(parsed, other) for other in used):
        raise InvalidArgument(f"subnet {text} is already used on the host or by another config")
    found = asked.replace(subnet=text)
    if asked.gateway:
        if not parsed.holds(asked.gateway):
            raise InvalidArgument(f"gateway {asked.gateway} not in subnet {text}")
        found = found.replace(gateway=_normal(asked.gateway))
    elif gateway:
        found = found.replace(gateway=first_address(parsed))
    for word, address in (("start", asked.lease_start), ("end", asked.lease_end)):
        if address and not parsed.holds(address):
            raise InvalidArgument(f"lease range {word} ip {address} not in subnet {text}")
    return found


def _normal(address: str) -> str:
    return format_address(*parse_address(address))


def first_address(subnet: Range) -> str:
    """The first address for a host: behind the subnet's own, which is left out but in one of a single address."""
    return format_address(subnet.first + (subnet.prefix < subnet.bits), subnet.version)


# --- macvlan and ipvlan -----------------------------------------------------------------------------------------------


def _on_parent(network: Network, taken: Taken) -> Network:
    """A network whose containers share an interface of the host: no DNS of ours, addresses by DHCP unless a subnet is given."""
    if network.interface and network.interface not in taken.host.interfaces:
        raise InvalidArgument(f"parent interface {network.interface} does not exist")
    driver = network.ipam.get("driver") or ("host-local" if network.subnets else "dhcp")
    if driver == "host-local" and not network.subnets:
        raise InvalidArgument(f"{network.driver} driver needs at least one subnet specified when the host-local ipam driver is set")
    if driver == "dhcp" and network.driver == "ipvlan":   # all its containers have the parent's hardware address
        raise InvalidArgument("ipam driver dhcp is not supported with ipvlan", hint="name a subnet: --subnet")
    return network.replace(ipam={"driver": driver}, dns_enabled=False, options=driveropts.checked(network.driver, network.options))


def _check_ipam(network: Network) -> None:
    """Whether there is such an IPAM driver, and its subnets fit it; InvalidArgument."""
    driver = network.ipam.get("driver", "")
    if driver not in ("", "none", "dhcp", "host-local"):
        raise InvalidArgument(f"unsupported ipam driver {quote(driver)}")
    if driver == "none" and network.subnets:
        raise InvalidArgument("none ipam driver is set but subnets are given")
    if driver == "dhcp" and network.subnets:
        raise InvalidArgument("ipam driver dhcp set but subnets are set")
