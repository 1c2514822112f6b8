"""What a container's networks will be: which it joins, under which interface, with which addresses, which are leased here."""

from __future__ import annotations

from podling.model import Network, NetworkStatus
from podling.network import outward
from podling.network.addresses import parse_subnet
from podling.record import Record
from podling.values.isolation import NetworkAttachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import ContainerConfig
    from podling.network.leases import Leases
    from podling.network.networks import Networks

DNS_DOMAIN = "dns.podman"


class Joined(Record):
    """One network that a container is on. ``addresses``: one a subnet, in the subnets' order, without a prefix."""

    network: Network
    attachment: NetworkAttachment
    interface: str
    addresses: tuple[str, ...] = ()

    @property
    def gateways(self) -> tuple[str, ...]:
        """The host's addresses in the network."""
        return tuple(subnet.gateway for subnet in self.network.subnets if subnet.gateway)

    @property
    def with_prefix(self) -> tuple[str, ...]:
        """The addresses in CIDR form."""
        return tuple(f"{address}/{parse_subnet(subnet.subnet).prefix}"
                     for address, subnet in zip(self.addresses, self.network.subnets, strict=True))


def interface_of(config: ContainerConfig, network: str) -> str:
    """The name of the container's interface in a network it is attached to: its own, or the first free ``ethN``."""
    taken = {attachment.interface for attachment in config.networks if attachment.interface}
    free = (name for number in range(len(config.networks) + len(taken)) if (name := f"eth{number}") not in taken)
    for attachment in config.networks:
        name = attachment.interface or next(free)
        if attachment.network == network:
            return name
    raise KeyError(network)


def join(config: ContainerConfig, networks: Networks, leases: Leases) -> tuple[Joined, ...]:
    """Every network of the container with its addresses leased; NoSuchNetwork, InUse."""
    return tuple(join_one(config, attachment, networks, leases) for attachment in config.networks)


def join_one(config: ContainerConfig, attachment: NetworkAttachment, networks: Networks, leases: Leases) -> Joined:
    """One network of the container with its addresses leased."""
    network = networks.get(attachment.network)
    others = outward.addresses_on(network.interface) if network.options.get("mode") == "unmanaged" else ()
    return Joined(network=network, attachment=attachment, interface=interface_of(config, attachment.network),
                  addresses=leases.take(network, config.id, attachment.static_ips, others=others))


def aliases(config: ContainerConfig, attachment: NetworkAttachment) -> tuple[str, ...]:
    """The names, beside its own, under which the others on a network find the container."""
    return (*attachment.aliases, config.id[:12])


def name_servers(config: ContainerConfig, servers: tuple[str, ...]) -> tuple[str, ...]:
    """Whom the network's name server asks for the container: the user's, else ``servers``; () for the host's."""
    if config.dns_servers:
        return config.dns_servers if config.dns_servers != ("none",) else ()
    return servers


def status(joined: Joined) -> NetworkStatus:
    """What the network gives the container, as far as it is known before it is set up."""
    network = joined.network
    return NetworkStatus(
        interface=joined.interface, mac_address=joined.attachment.static_mac, addresses=joined.with_prefix,
        gateways=joined.gateways, dns_servers=joined.gateways if network.dns_enabled else (),
        dns_search=(DNS_DOMAIN,) if network.dns_enabled else ())
