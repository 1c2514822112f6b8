"""Running containers join and leave networks; ``setup`` is the entry.

Each driver keeps what it did for a container by network, so that ``setup.down`` undoes what is done here too. Published ports lead to
one driver's networks: where the container leaves the network that had them, the next one gets them.
"""

from __future__ import annotations

from podling.linux import rootless
from podling.network import bridge, dns, foreign, hostside, namespaces, netavark, plan, rootless_bridge
from podling.network.setup import netns_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig, NetworkStatus
    from podling.network.leases import Leases
    from podling.network.networks import Networks
    from podling.network.plan import Joined
    from podling.values.isolation import NetworkAttachment
    from podling.values.ports import PortMapping


def connect(config: ContainerConfig, attachment: NetworkAttachment, *, networks: Networks, leases: Leases,
            conf: ContainersConf, runroot: str) -> NetworkStatus:
    """See :func:`podling.network.setup.connect`."""
    asked = (plan.join_one(config, attachment, networks, leases),)
    try:
        joined, = dns.available(foreign.avoid(config, asked, leases, runroot=runroot), conf)
        status = _join(config, joined, conf, runroot)
        if rootless.owner():
            _retarget(config, networks, leases, runroot)
    except BaseException:
        try:
            _leave(config, attachment.network, conf, runroot)
        finally:
            leases.release_one(attachment.network, config.id)
        raise
    return status


def disconnect(config: ContainerConfig, network: str, *, networks: Networks, leases: Leases, conf: ContainersConf,
               runroot: str) -> None:
    """See :func:`podling.network.setup.disconnect`."""
    _leave(config, network, conf, runroot)
    leases.release_one(network, config.id)
    left = config.replace(networks=tuple(each for each in config.networks if each.network != network))
    if rootless.owner():
        _retarget(left, networks, leases, runroot)
    else:
        _publish(left, leases, conf, runroot)


def _join(config: ContainerConfig, joined: Joined, conf: ContainersConf, runroot: str) -> NetworkStatus:
    servers: tuple[str, ...] = ()
    if rootless.owner():
        pending = hostside.begin(config.id, conf=conf, runroot=runroot)     # its first network, or what of the namespace was killed
        pending.finish()
        servers = pending.joint.dns_servers
    status = _join_by_driver(config, joined, servers, conf, runroot)
    return status if status.dns_servers else status.replace(dns_servers=servers)


def _join_by_driver(config: ContainerConfig, joined: Joined, servers: tuple[str, ...], conf: ContainersConf,
                    runroot: str) -> NetworkStatus:
    netns = netns_of(config, runroot)
    ports: tuple[PortMapping, ...] = ()
    if not rootless.owner() and not bridge.publishes(config.id, runroot=runroot):
        ports = config.ports

    def by_our_own() -> NetworkStatus | None:
        if not bridge.drives(joined.network, conf):
            return None
        own_ports = () if netavark.publishes(config.id, runroot=runroot) else ports
        done = bridge.begin(config, (joined,), netns, own_ports, conf=conf, runroot=runroot, servers=servers)
        return done.finish()[joined.network.name]

    status = namespaces.inside(hostside.netns_of(runroot), by_our_own)
    return status or netavark.join(config, joined, netns, ports, conf=conf, runroot=runroot, servers=servers)


def _leave(config: ContainerConfig, network: str, conf: ContainersConf, runroot: str) -> None:
    netns, interface = netns_of(config, runroot), plan.interface_of(config, network)
    namespaces.inside(hostside.netns_of(runroot),
                      lambda: bridge.leave(config.id, network, interface, netns, conf=conf, runroot=runroot))
    netavark.leave(config.id, network, netns, conf=conf, runroot=runroot)


def _publish(config: ContainerConfig, leases: Leases, conf: ContainersConf, runroot: str) -> None:
    """Where no network has the container's ports any more, its first one gets them."""
    if not config.ports or bridge.publishes(config.id, runroot=runroot) or netavark.publishes(config.id, runroot=runroot):
        return
    for each in config.networks:
        if bridge.publish(config.id, each.network, leases.of(each.network, config.id), config.ports, conf=conf, runroot=runroot):
            return
    netavark.publish(config.id, config.ports, netns_of(config, runroot), conf=conf, runroot=runroot)


def _retarget(config: ContainerConfig, networks: Networks, leases: Leases, runroot: str) -> None:
    """Without root the forwarder leads to the first address of each version that the container has now."""
    addresses = [address for each in config.networks for address in leases.of(each.network, config.id)]
    near = [subnet.subnet for each in config.networks for subnet in networks.get(each.network).subnets]
    rootless_bridge.retarget(config, addresses, near, runroot=runroot)
