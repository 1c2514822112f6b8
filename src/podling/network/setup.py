"""A container's network, whatever its mode and its networks' drivers: the only entry for the engine.

    begin        ports held, addresses leased, namespace made, the drivers at work      -> Pending
    finish       the drivers waited for                                                 -> what each network gave
    down         all of it undone, from what is on disk; idempotent
    connect      a running container joins one more network                             -> what the network gave
    disconnect   a running container leaves one
    reload       the firewall's part done again for a running container

Between ``begin`` and ``finish`` the caller makes the container, so that both take their time side by side.

A mode other than ``bridge`` and ``none`` is one module with functions of the same names (``_MODES``); a network of mode ``bridge`` is
connected by its driver (``_by_driver``).
"""

from __future__ import annotations

from podling import log
from podling.errors import PodlingError, Unsupported, explain
from podling.linux import rootless
from podling.network import dns, namespaces, plan
from podling.network.ports import Reservation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig, NetworkStatus
    from podling.network.leases import Leases
    from podling.network.networks import Networks
    from podling.values.isolation import NetworkAttachment
    from podling.values.ports import PortMapping

    class Part(Protocol):
        """What one driver has under way."""

        def finish(self) -> dict[str, NetworkStatus]:
            """Wait for it; network -> what it gave."""

        def abandon(self) -> None:
            """Let go of locks, sockets and children; what was done is left to ``down``. Idempotent."""


class Pending:
    """A network that is being set up. ``planned``: what it will be, as far as it is known before the drivers have ended."""

    def __init__(self, netns: str) -> None:
        self.netns = netns
        self.planned: dict[str, NetworkStatus] = {}
        self.parts: list[Part] = []
        self.reservation: Reservation | None = None

    @property
    def reserved(self) -> tuple[int, ...]:
        """Sockets that hold the host ports, and lifelines: descriptors for conmon to keep."""
        held = self.reservation.fds if self.reservation is not None else ()
        return held + tuple(fd for part in self.parts for fd in getattr(part, "keep", ()))

    @property
    def host(self) -> str:
        """By which address the container reaches this host, where that is not its gateway's: "" or "none" for none known."""
        return next((part.host for part in self.parts if hasattr(part, "host")), "")

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait for the drivers; what each network gave, in the order of the container's networks."""
        found = dict(self.planned)
        try:
            for part in self.parts:
                found.update(part.finish())
        finally:
            self.abandon()
        return found

    def abandon(self) -> None:
        """Let go of the drivers and of our copies of the sockets."""
        for part in self.parts:
            part.abandon()
        if self.reservation is not None:
            self.reservation.close()


def begin(config: ContainerConfig, *, networks: Networks, leases: Leases, conf: ContainersConf, runroot: str,
          owner_of: Callable[[], dict[tuple[int, str], str]]) -> Pending:
    """Begin to set up the container's own network; :func:`down` undoes whatever this and ``finish`` got to."""
    mode = config.net_ns.mode
    pending = Pending(netns_of(config, runroot))
    try:
        if mode in ("slirp4netns", "pasta"):
            part = _mode(mode).begin(config, pending.netns, conf=conf, runroot=runroot, owner_of=owner_of)
            pending.parts.append(part)
            pending.planned = part.planned
            return pending
        if mode not in ("bridge", "none"):
            raise Unsupported(f"the network mode {mode} is not available yet", hint="use bridge, host, none or container:NAME")
        if mode == "none" or not config.networks:
            namespaces.make(pending.netns)
            return pending
        from podling.network import foreign

        joined = foreign.avoid(config, plan.join(config, networks, leases), leases, runroot=runroot)
        _begin_bridge(pending, config, joined, conf, runroot, owner_of)
    except BaseException:
        pending.abandon()
        raise
    return pending


def _mode(mode: str) -> Any:
    """The module of a mode that needs a program of its own for each container."""
    if mode == "pasta":
        from podling.network import pasta

        return pasta
    from podling.network import slirp

    return slirp


def _begin_bridge(pending: Pending, config: ContainerConfig, joined: tuple[plan.Joined, ...], conf: ContainersConf,
                  runroot: str, owner_of: Callable[[], dict[tuple[int, str], str]]) -> None:
    joined = dns.available(joined, conf)
    pending.planned = {each.network.name: plan.status(each) for each in joined}
    ports = config.ports
    servers: tuple[str, ...] = ()
    if rootless.owner():
        from podling.network import rootless_bridge

        part = rootless_bridge.begin(config, joined, conf=conf, runroot=runroot, owner_of=owner_of)
        pending.parts.append(part)
        pending.planned, ports, servers = part.with_servers(pending.planned), (), part.servers
    else:
        pending.reservation = Reservation(ports, owner_of=owner_of)
    namespaces.make(pending.netns)
    joined, ports = _begin_own(pending, config, joined, ports, conf, runroot, servers)
    if joined:
        from podling.network import netavark

        pending.parts.append(netavark.begin(config, joined, pending.netns, ports, conf=conf, runroot=runroot, servers=servers))


def _begin_own(pending: Pending, config: ContainerConfig, joined: tuple[plan.Joined, ...], ports: tuple[PortMapping, ...],
               conf: ContainersConf, runroot: str, servers: tuple[str, ...]) -> tuple[tuple[plan.Joined, ...], tuple[PortMapping, ...]]:
    """Connect the networks that our own bridge driver drives; the others, and the ports that are still to be forwarded."""
    if rootless.owner():
        from podling.network import rootless_bridge

        done, others = rootless_bridge.connect(config, joined, pending.netns, servers, conf=conf, runroot=runroot)
        if done is not None:
            _began(pending, done)
        return others, ports
    from podling.network import bridge

    own = tuple(each for each in joined if bridge.drives(each.network, conf))
    if not own:
        return joined, ports
    _began(pending, bridge.begin(config, own, pending.netns, ports, conf=conf, runroot=runroot))
    return tuple(each for each in joined if each not in own), ()


def _began(pending: Pending, done: Part) -> None:
    """Our own driver is done already: where the names' server listens is known."""
    pending.parts.append(done)
    pending.planned |= {name: status for name, status in done.finish().items() if status.dns_servers}


def down(config: ContainerConfig, *, leases: Leases, conf: ContainersConf, runroot: str) -> None:
    """Take the container's network down, whatever of it there is; idempotent. Failures are logged after all was tried."""
    path = netns_of(config, runroot)
    failure = None
    if config.net_ns.mode == "bridge":
        failure = _down_bridge(config, path, conf, runroot)
    elif config.net_ns.mode in ("slirp4netns", "pasta"):
        _mode(config.net_ns.mode).down(config, runroot=runroot)
    namespaces.delete(path)
    if config.net_ns.mode == "bridge":
        leases.release(config.id)
    if failure is not None:
        log.debug(f"taking down the network of container {config.id}: {explain(failure)}")


def _down_bridge(config: ContainerConfig, path: str, conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Undo what the drivers did; the failure that one told, if any."""
    from podling.network import netavark

    if rootless.owner():
        from podling.network import rootless_bridge

        if rootless_bridge.down(config, runroot=runroot):       # the last: all of it went with the namespace
            netavark.forget(config.id, runroot=runroot)
            return None
        failure = netavark.down(config.id, path, conf=conf, runroot=runroot)
        return rootless_bridge.release(config, path, conf=conf, runroot=runroot) or failure
    from podling.network import bridge

    failure = netavark.down(config.id, path, conf=conf, runroot=runroot)
    return bridge.down(config.id, path, conf=conf, runroot=runroot) or failure


def connect(config: ContainerConfig, attachment: NetworkAttachment, *, networks: Networks, leases: Leases,
            conf: ContainersConf, runroot: str) -> NetworkStatus:
    """A running container joins the network of ``attachment``: interface, addresses and names are there when this returns.

    ``config`` has the attachment already, as the last of ``config.networks``; the caller holds the container's lock, and stores the
    config, and the status as ``ContainerState.network[name]``. Nothing is left behind by a failure.
    """
    from podling.network import live

    return live.connect(config, attachment, networks=networks, leases=leases, conf=conf, runroot=runroot)


def disconnect(config: ContainerConfig, network: str, *, networks: Networks, leases: Leases, conf: ContainersConf,
               runroot: str) -> None:
    """A running container leaves the network of this name: interface, address, ports and names are gone when this returns.

    ``config`` still has the attachment; the caller holds the container's lock and stores the config without it. Ports lead to the
    container's next network. Idempotent.
    """
    from podling.network import live

    live.disconnect(config, network, networks=networks, leases=leases, conf=conf, runroot=runroot)


def reload(config: ContainerConfig, *, conf: ContainersConf, runroot: str) -> None:
    """Do the firewall's part again for a running container, after somebody has flushed or changed the rules; idempotent.

    A container without a network of its own has nothing to reload.
    """
    if config.net_ns.mode == "bridge":
        from podling.network import netavark

        if rootless.owner():
            from podling.network import rootless_bridge

            rootless_bridge.reload(config, conf=conf, runroot=runroot)
        else:
            from podling.network import bridge

            bridge.reload(config.id, conf=conf, runroot=runroot)
        netavark.reload(config.id, netns_of(config, runroot), conf=conf, runroot=runroot)
    elif config.net_ns.mode in ("slirp4netns", "pasta"):
        _mode(config.net_ns.mode).reload(config, netns_of(config, runroot), conf=conf, runroot=runroot)


def netns_of(config: ContainerConfig, runroot: str) -> str:
    """Where the container's own namespace is mounted."""
    return namespaces.path_of(config.id, namespaces.directory_of(runroot))
