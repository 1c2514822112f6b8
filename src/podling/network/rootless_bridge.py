"""What an ordinary user's bridged container needs beside its interfaces: the rootless network namespace, and ports into it."""

from __future__ import annotations

from podling.network import bridge, companions, forward, hostside, namespaces, transparent
from podling.network.outward import outward_addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podling.config.containers import ContainersConf
    from podling.errors import PodlingError
    from podling.model import ContainerConfig, NetworkStatus
    from podling.network.plan import Joined


class Pending:
    """The namespace and the forwarder while they start. ``keep``: descriptors for conmon alone."""

    def __init__(self) -> None:
        self.hostside: hostside.Pending | None = None
        self.listening: forward.Listening | None = None
        self.lifeline: companions.Lifeline | None = None
        self.forwarding: forward.Forwarding | None = None

    @property
    def host(self) -> str:
        """By which address the container reaches this host: its gateway is not on it."""
        host = self.hostside.host if self.hostside is not None else ""
        return host or next(iter(outward_addresses()), "none")

    @property
    def keep(self) -> tuple[int, ...]:
        """What conmon holds for as long as it lives."""
        return (self.lifeline.far,) if self.lifeline is not None else ()

    @property
    def servers(self) -> tuple[str, ...]:
        """Name servers that are reached from the namespace; the host's own may be on its loopback."""
        assert self.hostside is not None
        return self.hostside.joint.dns_servers

    def with_servers(self, planned: Mapping[str, NetworkStatus]) -> dict[str, NetworkStatus]:
        """The networks, those without a name server of their own with the namespace's."""
        return {name: status if status.dns_servers else status.replace(dns_servers=self.servers) for name, status in planned.items()}

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait until packets flow and ports are forwarded."""
        try:
            for started in (self.hostside, self.forwarding):
                if started is not None:
                    started.finish()
        finally:
            self.abandon()
        return {}

    def abandon(self) -> None:
        """Let go of pipes and sockets; idempotent."""
        for part in (self.listening, self.lifeline):
            if part is not None:
                part.close()
        for started in (self.hostside, self.forwarding):
            if started is not None:
                started.abandon()


def begin(config: ContainerConfig, joined: tuple[Joined, ...], *, conf: ContainersConf, runroot: str,
          owner_of: Callable[[], dict[tuple[int, str], str]]) -> Pending:
    """The ports are ours, the namespace is there and used; :func:`down` undoes what this and ``finish`` got to."""
    pending = Pending()
    try:
        if config.ports:
            pending.listening = forward.Listening(config.ports, owner_of=owner_of)
        pending.hostside = hostside.begin(config.id, conf=conf, runroot=runroot)
        if pending.listening is not None:
            pending.lifeline = companions.Lifeline(config.id, runroot)
            pending.forwarding = forward.begin(
                config.id, pending.listening, targets(joined), netns=pending.hostside.netns, runroot=runroot,
                life=pending.lifeline.near, near=[subnet.subnet for each in joined for subnet in each.network.subnets],
                mark=transparent.BRIDGED if hostside.keep_clients(runroot) else 0)
    except BaseException:
        pending.abandon()
        raise
    return pending


def connect(config: ContainerConfig, joined: tuple[Joined, ...], netns: str, servers: tuple[str, ...], *, conf: ContainersConf,
            runroot: str) -> tuple[bridge.Done | None, tuple[Joined, ...]]:
    """Our own bridge driver, in the namespace: what it did, and the networks that are left to another driver."""
    def act() -> tuple[bridge.Done | None, tuple[Joined, ...]]:
        own = tuple(each for each in joined if bridge.drives(each.network, conf))
        done = bridge.begin(config, own, netns, (), conf=conf, runroot=runroot, servers=servers) if own else None
        return done, tuple(each for each in joined if each not in own)

    return namespaces.inside(hostside.netns_of(runroot), act)


def targets(joined: tuple[Joined, ...]) -> list[str]:
    """The addresses that ports lead to."""
    return first_of_each([address for each in joined for address in each.addresses])


def first_of_each(addresses: Iterable[str]) -> list[str]:
    """The first address of each version."""
    found: dict[bool, str] = {}
    for address in addresses:
        found.setdefault(":" in address, address)
    return list(found.values())


def retarget(config: ContainerConfig, addresses: list[str], near: list[str], *, runroot: str) -> None:
    """The ports of a running container lead to the first of these addresses of each version.

    Where those stay, so does the forwarder, with all its connections. Otherwise it is another one.
    """
    wanted = first_of_each(addresses)
    if not config.ports or wanted == forward.targets_of(config.id, runroot):
        return
    forward.down(config.id, runroot)
    if not wanted:
        return
    listening = forward.Listening(config.ports, owner_of=dict)
    lifeline = companions.Lifeline(config.id, runroot, running=True)
    try:
        forward.begin(config.id, listening, wanted, netns=hostside.netns_of(runroot), runroot=runroot, life=lifeline.near, near=near,
                      mark=transparent.BRIDGED if hostside.keep_clients(runroot) else 0).finish()
    finally:
        lifeline.close()
        listening.close()


def down(config: ContainerConfig, *, runroot: str) -> bool:
    """The forwarder has ended; whether the namespace is gone, as nobody else used it. Otherwise :func:`release` follows. Idempotent."""
    forward.down(config.id, runroot)
    companions.remove_lifeline(config.id, runroot)
    return hostside.end_if_last(config.id, runroot=runroot)


def release(config: ContainerConfig, netns: str, *, conf: ContainersConf, runroot: str) -> PodlingError | None:
    """The container's interfaces go, and it uses the namespace no more; the failure, if any. Idempotent."""
    failure = namespaces.inside(hostside.netns_of(runroot), lambda: bridge.down(config.id, netns, conf=conf, runroot=runroot))
    hostside.release(config.id, runroot=runroot)
    return failure


def reload(config: ContainerConfig, *, conf: ContainersConf, runroot: str) -> None:
    """Start again, for a running container, what was killed."""
    hostside.begin(config.id, conf=conf, runroot=runroot).finish()
    namespaces.inside(hostside.netns_of(runroot), lambda: bridge.reload(config.id, conf=conf, runroot=runroot))
    if config.ports and forward.targets_of(config.id, runroot):
        lifeline = companions.Lifeline(config.id, runroot, running=True)
        try:
            forward.reload(config.id, config.ports, runroot=runroot, life=lifeline.near)
        finally:
            lifeline.close()
