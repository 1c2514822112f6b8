"""Our own driver of bridge networks: interfaces by netlink (``links``), the firewall by one transaction (``network.firewall``), names by
aardvark-dns (``network.dns``); no other program in between.

Who is on a network is written down (``members``) before anything is done. One lock keeps set-ups, ends and sweeping apart; it is held for a
few milliseconds. What takes the kernel long is left to a child in the background (``sweeping``).
"""

from __future__ import annotations

from podling.errors import PodlingError
from podling.linux import pids
from podling.network import dhcp, dns, firewall, namespaces, plan
from podling.network.bridge import links, members, sweeping
from podling.network.firewall import firewalld, flows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig, Network, NetworkStatus
    from podling.network.plan import Joined
    from podling.values.ports import PortMapping


class Done:
    """Networks that are set up already."""

    def __init__(self, statuses: dict[str, NetworkStatus]) -> None:
        self._statuses = statuses

    def finish(self) -> dict[str, NetworkStatus]:
        """What each network gave."""
        return self._statuses

    def abandon(self) -> None:
        """Nothing is held."""


def drives(network: Network, conf: ContainersConf) -> bool:
    """Whether this driver sets the network up: a bridge whose addresses we choose, on a host whose firewall we can drive."""
    if network.driver != "bridge" or conf.network_backend == "netavark" or dhcp.gives(network):
        return False
    return firewall.usable(conf)


def begin(config: ContainerConfig, joined: Iterable[Joined], netns: str, ports: tuple[PortMapping, ...], *,
          conf: ContainersConf, runroot: str, servers: tuple[str, ...] = ()) -> Done:
    """Connect a container whose namespace is there; :func:`down` undoes whatever of it was done.

    ``ports`` lead to the first network. ``servers``: whom the name server asks where the user named nobody.
    """
    if ports and conf.firewall_driver != "none":
        firewalld.check_ports()
    statuses = {}
    for at, each in enumerate(joined):
        names_at = links.names_at(each.network)
        member = members.Member(network=each.network, told=_told(config, each, servers) if names_at else "", names_at=names_at,
                                forwards=firewall.forwards(ports if at == 0 else (), each.addresses))
        with members.lock(runroot):
            first = not members.of_network(runroot, each.network.name)
            members.write(runroot, config.id, member)
            mac = links.join(each, netns)
            _open(each.network, member.forwards, conf, trust=first)
        flows.forget(member.forwards)
        if member.told:
            dns.add(each.network, names_at, member.told, conf=conf, runroot=runroot)
        statuses[each.network.name] = plan.status(each).replace(mac_address=mac, dns_servers=names_at)
    return Done(statuses)


def _firewall(network: Network, conf: ContainersConf) -> firewall.Driver:
    """The driver of the network's rules: there are none where its bridge is somebody else's."""
    return firewall.driver(conf) if links.managed(network) else firewall.no_driver()


def _open(network: Network, forwards: Iterable[firewall.Forward], conf: ContainersConf, *, trust: bool) -> None:
    """The firewall's part. ``trust``: firewalld's too, which takes longer and lasts."""
    rules = firewall.rules(network, conf)
    _firewall(network, conf).add(rules, forwards)
    if trust and links.managed(network) and conf.firewall_driver != "none":
        firewalld.trust(rules)


def _told(config: ContainerConfig, joined: Joined, servers: tuple[str, ...]) -> str:
    """What the name server is told of the container in a network, "" for nothing."""
    if not joined.addresses:
        return ""
    names = (config.name, *plan.aliases(config, joined.attachment))
    return dns.line(config.id, joined.addresses, names, plan.name_servers(config, servers))


def down(container_id: str, netns: str, *, conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Take the container off all its networks and end its namespace; the first failure, if any. Idempotent."""
    mine = members.networks_of(runroot, container_id)
    failure = None
    for name in mine:
        dns.remove(name, container_id, runroot=runroot)
    if mine:
        with members.lock(runroot):
            for name in mine:
                try:
                    _leave(name, container_id, conf, runroot)
                except PodlingError as error:
                    failure = failure or error
            namespaces.delete(netns)
    _sweep(conf, runroot)
    return failure


def leave(container_id: str, name: str, interface: str, netns: str, *, conf: ContainersConf, runroot: str) -> bool:
    """A running container leaves one network; False where this driver has not connected it to that. Idempotent."""
    if not members.is_member(runroot, name, container_id):
        return False
    dns.remove(name, container_id, runroot=runroot)
    with members.lock(runroot):
        namespaces.inside(netns, lambda: links.delete(interface))
        _leave(name, container_id, conf, runroot)
    _sweep(conf, runroot)
    return True


def _leave(name: str, container_id: str, conf: ContainersConf, runroot: str) -> None:
    member = members.read(runroot, name, container_id)
    if member is None:
        return
    if member.boot == pids.boot_id():          # otherwise all of it went with the reboot
        _firewall(member.network, conf).close(member.forwards)
        flows.forget(member.forwards)
    members.remove(runroot, container_id, member.network)


def _sweep(conf: ContainersConf, runroot: str) -> None:
    if any(members.left_by_all(runroot, name) is not None for name in members.networks(runroot)):
        sweeping.in_background(conf, runroot)


def publishes(container_id: str, *, runroot: str) -> bool:
    """Whether ports lead to the container by this driver's rules."""
    found = (members.read(runroot, name, container_id) for name in members.networks_of(runroot, container_id))
    return any(member is not None and member.forwards for member in found)


def publish(container_id: str, name: str, addresses: tuple[str, ...], ports: tuple[PortMapping, ...], *, conf: ContainersConf,
            runroot: str) -> bool:
    """Ports lead to the container's addresses in a network that it is on already; False where it is not on it by this driver."""
    with members.lock(runroot):
        member = members.read(runroot, name, container_id)
        if member is None:
            return False
        member = member.replace(forwards=firewall.forwards(ports, addresses))
        members.write(runroot, container_id, member)
        _open(member.network, member.forwards, conf, trust=False)
    flows.forget(member.forwards)
    return True


def redefine(network: Network, *, runroot: str) -> None:
    """A network's definition has changed: its running containers have the new one at the next reload."""
    with members.lock(runroot):
        for container_id in members.of_network(runroot, network.name):
            member = members.read(runroot, network.name, container_id)
            if member is not None:
                members.write(runroot, container_id, member.replace(network=network))


def reload(container_id: str, *, conf: ContainersConf, runroot: str) -> None:
    """The firewall's part for the container again, and the name server's; idempotent."""
    for name in members.networks_of(runroot, container_id):
        with members.lock(runroot):
            member = members.read(runroot, name, container_id)
            if member is None:
                continue
            _open(member.network, member.forwards, conf, trust=True)
            links.host_settings(member.network)
        if member.told:
            dns.add(member.network, member.names_at, member.told, conf=conf, runroot=runroot)
