"""The host's firewall for our own bridges: what a network and a published port need of it, whatever drives it.

    add               a network's rules and a container's published ports, at once; idempotent
    close             a container's published ports
    remove_network    a network's rules, when nobody is on it any more
    remove_all        all of ours, when no network is left

Everything acts in the network namespace that the calling thread is in. The drivers are modules with these functions: ``nftables``,
``iptables`` and ``nothing``.
"""

from __future__ import annotations

from podling.network import dns
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from podling.config.containers import ContainersConf
    from podling.model import Network
    from podling.values.ports import PortMapping

_DNS = 53

class NetworkRules(Record):
    """A network as the firewall sees it. ``isolate``: "" with nobody, "true" from others that are so, "strict" from every other.

    ``names``: the addresses of this host where its containers ask for names, at ``names_port``.
    """

    interface: str
    subnets: tuple[str, ...] = ()
    isolate: str = ""
    internal: bool = False
    masquerade: bool = True
    names: tuple[str, ...] = ()
    names_port: int = 53

    @property
    def redirected(self) -> tuple[Forward, ...]:
        """Names are asked for at port 53, wherever the server listens."""
        if self.names_port == _DNS:
            return ()
        return tuple(Forward(protocol=protocol, host_port=_DNS, container_port=self.names_port, address=address, host_ip=address)
                     for address in self.names for protocol in ("udp", "tcp"))


class Forward(Record):
    """A run of ``length`` host ports that lead to one container's ports. ``host_ip`` "": any address of the address' family."""

    protocol: str
    host_port: int
    container_port: int
    address: str
    length: int = 1
    host_ip: str = ""


if TYPE_CHECKING:
    class Driver(Protocol):
        """What a driver's module offers."""

        def add(self, network: NetworkRules, forwards: Iterable[Forward]) -> None:
            """A network's rules and ports."""

        def close(self, forwards: Iterable[Forward]) -> None:
            """No such ports any more."""

        def remove_network(self, network: NetworkRules) -> None:
            """No such network any more."""

        def remove_all(self) -> None:
            """Nothing of ours any more."""

        def held(self) -> tuple[int, ...]:
            """Descriptors that are slow to close: for whoever sweeps up in the background."""


def driver(conf: ContainersConf) -> Driver:
    """The driver that containers.conf names, else ``nftables`` where the host has it, else ``iptables``."""
    if conf.firewall_driver == "none":
        return no_driver()
    from podling.network.firewall import nftables

    if conf.firewall_driver == "nftables" or (conf.firewall_driver != "iptables" and nftables.works()):
        return nftables
    from podling.network.firewall import iptables

    return iptables


def usable(conf: ContainersConf) -> bool:
    """Whether this host has the driver that containers.conf names, or any where it names none."""
    if conf.firewall_driver == "none":
        return True
    from podling.network.firewall import iptables, nftables

    return ((conf.firewall_driver in ("", "nftables") and nftables.works())
            or (conf.firewall_driver in ("", "iptables") and iptables.works()))


def no_driver() -> Driver:
    """The driver for which rules are somebody else's business."""
    from podling.network.firewall import nothing

    return nothing


def rules(network: Network, conf: ContainersConf) -> NetworkRules:
    """What a network needs of the firewall."""
    isolate = network.options.get("isolate", "")
    return NetworkRules(interface=network.interface, subnets=tuple(subnet.subnet for subnet in network.subnets),
                        isolate="true" if isolate in ("true", "1") else isolate if isolate == "strict" else "",
                        internal=network.internal, names=dns.listening(network), names_port=conf.dns_bind_port or _DNS)


def forwards(ports: Iterable[PortMapping], addresses: Iterable[str]) -> tuple[Forward, ...]:
    """What a container's published ports need, one for each mapping and each family that it has an address of."""
    found = []
    firsts = {(":" in address): address for address in reversed(tuple(addresses))}
    for port in ports:
        for version6, address in sorted(firsts.items()):
            if not port.host_ip or (":" in port.host_ip) == version6:
                found.append(Forward(protocol=port.protocol, host_port=port.host_port, container_port=port.container_port,
                                     address=address, length=port.length,
                                     host_ip="" if port.host_ip in ("0.0.0.0", "::") else port.host_ip))
    return tuple(found)
