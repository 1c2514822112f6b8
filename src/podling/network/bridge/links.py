"""The interfaces of our own bridges: the bridge itself, the pair that joins a container, its addresses and routes; by netlink."""

from __future__ import annotations

import os

from podling import log
from podling.errors import PodlingError, Unsupported
from podling.linux import netlink, rootless, rtnetlink
from podling.network import dns, namespaces, outward
from podling.network.addresses import parse_subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import Network
    from podling.network.plan import Joined

_METRIC = 100                     # of default routes, as netavark's
_EOPNOTSUPP = 95
_ETHERNET = 1500                  # the kernel's own MTU of a pair


def join(joined: Joined, netns: str) -> str:
    """Connect the namespace to the network's bridge, made where it is missing; the hardware address of the interface there."""
    network = joined.network
    inside = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.Connection(netlink.ROUTE) as route:
            master = _bridge(route, network)
            mtu = _mtu(route, network)
            # A name of our own: one that the kernel chose would be found among all ports of the bridge.
            name = joined.attachment.options.get("host_interface_name", "") or f"veth{os.urandom(4).hex()}"
            route.run([rtnetlink.veth(rtnetlink.Veth(name=name, peer=joined.interface, peer_netns=inside, master=master, mtu=mtu,
                                                     mac_address=joined.attachment.static_mac))])
            port = rtnetlink.find_link(route, name)
            if port is None:
                raise PodlingError(f"the interface {name} is gone from the bridge {network.interface}")
            vlan = int(network.options.get("vlan") or 0)
            route.run([rtnetlink.hairpin(port.index), *([rtnetlink.port_vlan(port.index, vlan)] if vlan else [])])
    finally:
        os.close(inside)
    return namespaces.inside(netns, lambda: _configure(joined))


def managed(network: Network) -> bool:
    """Whether the bridge is ours to make and to delete, and its firewall rules to set."""
    return network.options.get("mode", "managed") in ("", "managed")


def _bridge(route: netlink.Connection, network: Network) -> int:
    """The index of the network's bridge, made and given its addresses where it is not there."""
    found = rtnetlink.find_link(route, network.interface)
    if found is not None and (found.up or not managed(network)):
        return found.index
    if not managed(network):
        raise PodlingError(f"in unmanaged mode, the bridge {network.interface} must already exist on the host",
                           hint=f"make it: ip link add {network.interface} up type bridge")
    vlan = int(network.options.get("vlan") or 0)
    try:
        route.run([rtnetlink.bridge(network.interface, mtu=int(network.options.get("mtu") or 0), vlan=vlan, master=_vrf(route, network))])
    except netlink.KernelRefused as error:
        if vlan and error.errno == _EOPNOTSUPP:
            raise Unsupported(f"VLAN {vlan} on the bridge {network.interface}: this kernel's bridges know no VLANs") from error
        raise
    found = rtnetlink.find_link(route, network.interface)
    if found is None:
        raise PodlingError(f"creating the bridge {network.interface}: it was deleted at once")
    host_settings(network)
    route.run([rtnetlink.add_address(found.index, subnet.gateway, parse_subnet(subnet.subnet).prefix)
               for subnet in network.subnets if subnet.gateway] + [rtnetlink.pin(found), rtnetlink.up(found.index)])
    return found.index


def _vrf(route: netlink.Connection, network: Network) -> int:
    """The index of the VRF that the bridge belongs to, 0 for none."""
    name = network.options.get("vrf", "")
    found = rtnetlink.find_link(route, name) if name else None
    if name and found is None:
        raise PodlingError(f"get vrf to set up bridge interface: there is no interface {name}",
                           hint=f"make it: ip link add {name} up type vrf table NUMBER")
    return found.index if found else 0


def _mtu(route: netlink.Connection, network: Network) -> int:
    """The MTU of the container's interface, 0 for the kernel's: what was said, else that of the way out of this host."""
    said = int(network.options.get("mtu") or 0)
    if said or network.internal or rootless.owner():     # an ordinary user's way out may not be there yet
        return said
    out = rtnetlink.find_link(route, outward.default_interface())
    return out.mtu if out is not None and out.mtu != _ETHERNET else 0


def host_settings(network: Network) -> None:
    """Forwarding, that 127.0.0.1 may be the sender of what goes to a published port, and that answers may come another way."""
    if not managed(network):
        return
    interface = network.interface
    version6 = any(":" in subnet.subnet for subnet in network.subnets)
    if not network.internal:
        _sysctl("ipv4/ip_forward", "1")
        if version6:
            _sysctl("ipv6/conf/all/forwarding", "1")
    _sysctl(f"ipv4/conf/{interface}/route_localnet", "1")
    _sysctl(f"ipv4/conf/{interface}/rp_filter", "2")
    if version6:
        _sysctl(f"ipv6/conf/{interface}/accept_dad", "0")
        _sysctl(f"ipv6/conf/{interface}/accept_ra", "0")


def _configure(joined: Joined) -> str:
    """In the container's namespace: settings, addresses, routes; the interface's hardware address."""
    network, name = joined.network, joined.interface
    with netlink.Connection(netlink.ROUTE) as route:
        link = rtnetlink.find_link(route, name)
        if link is None:
            raise PodlingError(f"the interface {name} is gone from the container's namespace")
        _sysctl(f"ipv4/conf/{name}/arp_notify", "1")
        if any(":" in subnet.subnet for subnet in network.subnets):
            _sysctl(f"ipv6/conf/{name}/autoconf", "0")
            _sysctl(f"ipv6/conf/{name}/accept_dad", "0")
        requests = [rtnetlink.add_address(link.index, address, parse_subnet(subnet.subnet).prefix)
                    for address, subnet in zip(joined.addresses, network.subnets, strict=True)]
        requests.append(rtnetlink.up(link.index))
        if not network.internal and network.options.get("no_default_route") not in ("true", "1"):
            metric = int(network.options.get("metric") or _METRIC)
            requests += [rtnetlink.add_route("", gateway, metric=metric) for gateway in joined.gateways]
        requests += [rtnetlink.add_route(route.destination, route.gateway, metric=route.metric or _METRIC)
                     for route in network.routes]
        route.run(requests)
    return link.mac_address


def names_at(network: Network) -> tuple[str, ...]:
    """Where the name server of a network listens: at the gateways, or where those need not be this host's, at the bridge's addresses.

    PodlingError where there is none.
    """
    if managed(network) or not network.dns_enabled:
        return dns.listening(network)
    with netlink.Connection(netlink.ROUTE) as route:
        _bridge(route, network)                              # it is there, or that is told
    found = outward.addresses_on(network.interface)
    if not found:
        raise PodlingError(f"bridge {network.interface!r} in unmanaged mode has no usable IP addresses: the name server needs one",
                           hint="give it an address, or create the network with --disable-dns")
    return found


def delete(name: str) -> None:
    """In the container's namespace: the interface goes, and with it its other end at the bridge."""
    with netlink.Connection(netlink.ROUTE) as route:
        link = rtnetlink.find_link(route, name)
        if link is not None:
            route.run([rtnetlink.delete_link(link.index)])


def _sysctl(name: str, value: str) -> None:
    """Set a setting of the calling thread's namespace; one that is right, or that cannot be set here, stays."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.read(fd, 64).strip() != value.encode():
                os.pwrite(fd, value.encode(), 0)
        finally:
            os.close(fd)
    except OSError as error:
        log.debug(f"setting {name}: {error.strerror}")
