"""Our own driver of bridge networks: interfaces by netlink, the firewall by one transaction, no program in between.

Who is on a network is a file for each, ``<runroot>/networks/bridges/<network>/<container id>``: what taking down, reloading and counting
need, written before anything is done. One lock keeps set-ups, ends and sweeping apart; it is held for a few milliseconds.

The kernel takes 50 ms to delete a bridge and 15 until it has freed a deleted rule. Whoever takes the last container down leaves that to a
child of its own, which sweeps up in the background: it takes the lock itself and deletes only what is then unused.
"""

from __future__ import annotations

import os
import time

from podling import jsontext, log
from podling.errors import PodlingError, explain
from podling.linux import files, netlink, process, rtnetlink
from podling.linux.locks import Lock
from podling.model import Network, NetworkStatus
from podling.network import firewall, namespaces, plan
from podling.network.addresses import parse_subnet
from podling.network.networks import from_json, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.linux.locks import Held
    from podling.model import ContainerConfig
    from podling.network.firewall import Driver, Forward
    from podling.network.plan import Joined
    from podling.values.ports import PortMapping

_PORTS_VANISH_SECONDS = 1.0       # ended containers' interfaces go a moment after their namespaces
_METRIC = 100                     # of default routes, as netavark's


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
    """Whether this driver sets the network up: a bridge without options that are netavark's alone, on a host with nftables."""
    from podling.network.firewall import nftables

    if network.driver != "bridge" or conf.network_backend == "netavark" or network.dns_enabled:
        return False
    if network.options.get("mode", "managed") not in ("", "managed") or network.options.get("vrf"):
        return False
    return conf.firewall_driver == "none" or (conf.firewall_driver in ("", "nftables") and nftables.works())


def begin(config: ContainerConfig, joined: Iterable[Joined], netns: str, ports: tuple[PortMapping, ...], *,
          conf: ContainersConf, runroot: str) -> Done:
    """Connect a container whose namespace is there; :func:`down` undoes whatever of it was done."""
    statuses = {}
    with _lock(runroot):
        for at, each in enumerate(joined):
            statuses[each.network.name] = _join(config.id, each, netns, _forwards(each, ports if at == 0 else ()), conf, runroot)
    return Done(statuses)


def down(container_id: str, netns: str, *, conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Take the container off all its networks and end its namespace; the first failure, if any. Idempotent."""
    mine = [name for name in _networks(runroot) if os.path.exists(_member(runroot, name, container_id))]
    if not mine:
        return None
    failure = None
    with _lock(runroot):
        for name in mine:
            try:
                _leave(name, container_id, conf, runroot)
            except PodlingError as error:
                failure = failure or error
        namespaces.delete(netns)
    _sweep_in_background(mine, conf, runroot)
    return failure


def leave(container_id: str, name: str, interface: str, netns: str, *, conf: ContainersConf, runroot: str) -> bool:
    """A running container leaves one network; False where this driver has not connected it to that. Idempotent."""
    if not os.path.exists(_member(runroot, name, container_id)):
        return False
    with _lock(runroot):
        namespaces.inside(netns, lambda: _delete_interface(interface))
        _leave(name, container_id, conf, runroot)
    _sweep_in_background([name], conf, runroot)
    return True


def publishes(container_id: str, *, runroot: str) -> bool:
    """Whether ports lead to the container by this driver's rules."""
    return any(stored["forwards"] for name in _networks(runroot) if (stored := _read(_member(runroot, name, container_id))))


def publish(container_id: str, name: str, addresses: tuple[str, ...], ports: tuple[PortMapping, ...], *, conf: ContainersConf,
            runroot: str) -> bool:
    """Ports lead to the container's addresses in a network that it is on already; False where it is not on it by this driver."""
    path = _member(runroot, name, container_id)
    with _lock(runroot):
        stored = _read(path)
        if stored is None:
            return False
        network, forwards = from_json(stored["network"]), firewall.forwards(ports, addresses)
        _write(path, network, forwards)
        _driver(conf).add(_rules(network), forwards)
    return True


def reload(container_id: str, *, conf: ContainersConf, runroot: str) -> None:
    """The firewall's part for the container again; idempotent."""
    with _lock(runroot):
        for name in _networks(runroot):
            stored = _read(_member(runroot, name, container_id))
            if stored is not None:
                network = from_json(stored["network"])
                _driver(conf).add(_rules(network), _stored_forwards(stored))
                _host_settings(network)


# --- one network ------------------------------------------------------------------------------------------------------


def _join(container_id: str, joined: Joined, netns: str, forwards: tuple[Forward, ...], conf: ContainersConf,
          runroot: str) -> NetworkStatus:
    network = joined.network
    _write(_member(runroot, network.name, container_id), network, forwards)
    inside = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.Connection(netlink.ROUTE) as route:
            master = _bridge(route, network)
            mtu = int(network.options.get("mtu") or 0)
            route.run([rtnetlink.veth(rtnetlink.Veth(
                peer=joined.interface, peer_netns=inside, master=master, mtu=mtu, mac_address=joined.attachment.static_mac,
                name=joined.attachment.options.get("host_interface_name", "")))])
            newest = max(link.index for link in rtnetlink.ports_of(route, master))     # ours: numbers only grow
            vlan = int(network.options.get("vlan") or 0)
            route.run([rtnetlink.hairpin(newest), *([rtnetlink.port_vlan(newest, vlan)] if vlan else [])])
    finally:
        os.close(inside)
    mac = namespaces.inside(netns, lambda: _configure(joined))
    _driver(conf).add(_rules(network), forwards)
    return plan.status(joined).replace(mac_address=mac)


def _bridge(route: netlink.Connection, network: Network) -> int:
    """The index of the network's bridge, made and given its addresses where it is not there."""
    found = rtnetlink.find_link(route, network.interface)
    if found is not None and found.up:
        return found.index
    route.run([rtnetlink.bridge(network.interface, mtu=int(network.options.get("mtu") or 0),
                                vlan=int(network.options.get("vlan") or 0))])
    found = rtnetlink.find_link(route, network.interface)
    if found is None:
        raise PodlingError(f"creating the bridge {network.interface}: it was deleted at once")
    _host_settings(network)
    route.run([rtnetlink.add_address(found.index, subnet.gateway, parse_subnet(subnet.subnet).prefix)
               for subnet in network.subnets if subnet.gateway] + [rtnetlink.pin(found), rtnetlink.up(found.index)])
    return found.index


def _host_settings(network: Network) -> None:
    """Forwarding, and that 127.0.0.1 may be the sender of what goes to a published port."""
    version6 = any(":" in subnet.subnet for subnet in network.subnets)
    if not network.internal:
        _sysctl("ipv4/ip_forward", "1")
        if version6:
            _sysctl("ipv6/conf/all/forwarding", "1")
    _sysctl(f"ipv4/conf/{network.interface}/route_localnet", "1")
    if version6:
        _sysctl(f"ipv6/conf/{network.interface}/accept_dad", "0")


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


def _delete_interface(name: str) -> None:
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


def _leave(name: str, container_id: str, conf: ContainersConf, runroot: str) -> None:
    path = _member(runroot, name, container_id)
    stored = _read(path)
    if stored is None:
        return
    if stored["boot"] == process.boot_id():          # otherwise all of it went with the reboot
        _driver(conf).close(_stored_forwards(stored))
    network = from_json(stored["network"])
    files.write_atomic(f"{runroot}/networks/bridges/{name}/.definition", jsontext.dumps(to_json(network)).encode())
    os.unlink(path)


# --- sweeping up ------------------------------------------------------------------------------------------------------


def _sweep_in_background(names: list[str], conf: ContainersConf, runroot: str) -> None:
    """Sweep in a grandchild, which nobody needs to wait for."""
    keep = _driver(conf).held()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            os.setsid()
            _close_all_but(keep)
            for name in names:
                _sweep(name, conf, runroot)
    except (PodlingError, OSError) as error:
        log.debug(f"sweeping up networks: {explain(error)}")
    finally:
        os._exit(0)


def _close_all_but(keep: Iterable[int]) -> None:
    """Nothing that this process' parent has open is kept open by it: locks, pipes that somebody reads to their end."""
    kept = set(keep)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:                            # the listing's own
                continue


def _sweep(name: str, conf: ContainersConf, runroot: str) -> None:
    """Delete the network's bridge and rules, if nobody is on it."""
    directory = f"{runroot}/networks/bridges/{name}"
    with netlink.Connection(netlink.ROUTE) as route, _lock(runroot):
        definition = _read(f"{directory}/.definition")
        if definition is None or any(not entry.startswith(".") for entry in os.listdir(directory)):
            return
        network = from_json(definition)
        link = rtnetlink.find_link(route, network.interface)
        if link is not None and not _ports_left(route, link.index):
            route.run([rtnetlink.delete_link(link.index)])
        files.remove_tree(directory)
        _driver(conf).remove_network(_rules(network))
        if not _networks(runroot):
            _driver(conf).remove_all()


def _ports_left(route: netlink.Connection, master: int) -> bool:
    """Whether somebody else, Podman for one, has interfaces on the bridge; those of ended containers are waited for."""
    deadline = time.monotonic() + _PORTS_VANISH_SECONDS
    while rtnetlink.ports_of(route, master):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.005)
    return False


# --- what is kept -----------------------------------------------------------------------------------------------------


def _lock(runroot: str) -> Held:
    os.makedirs(f"{runroot}/networks/bridges", 0o700, exist_ok=True)
    return Lock(f"{runroot}/networks/bridges.lock").exclusive()


def _networks(runroot: str) -> list[str]:
    try:
        return os.listdir(f"{runroot}/networks/bridges")
    except FileNotFoundError:
        return []


def _member(runroot: str, network: str, container_id: str) -> str:
    return f"{runroot}/networks/bridges/{network}/{container_id}"


def _write(path: str, network: Network, forwards: tuple[Forward, ...]) -> None:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    files.write_atomic(path, jsontext.dumps({"boot": process.boot_id(), "network": to_json(network),
                                             "forwards": [forward.to_json() for forward in forwards]}).encode())


def _read(path: str) -> dict[str, Any] | None:
    try:
        value = jsontext.loads(files.read_bytes(path))
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def _stored_forwards(stored: dict[str, Any]) -> tuple[Forward, ...]:
    return tuple(firewall.Forward.from_json(value) for value in stored["forwards"])


def _forwards(joined: Joined, ports: tuple[PortMapping, ...]) -> tuple[Forward, ...]:
    return firewall.forwards(ports, joined.addresses)


def _rules(network: Network) -> firewall.NetworkRules:
    isolate = network.options.get("isolate", "")
    return firewall.NetworkRules(interface=network.interface, subnets=tuple(subnet.subnet for subnet in network.subnets),
                                 isolate="true" if isolate in ("true", "1") else isolate if isolate == "strict" else "",
                                 internal=network.internal)


def _driver(conf: ContainersConf) -> Driver:
    return firewall.driver(conf)
