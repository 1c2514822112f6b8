"""``network connect``, ``disconnect`` and ``reload``: containers join and leave networks, running or not."""

from __future__ import annotations

from podling import log
from podling.errors import AlreadyExists, InvalidArgument, PodlingError, WrongState, explain
from podling.network import plan, setup
from podling.network.leases import Leases
from podling.runtime import live_etc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import Container, ContainerConfig
    from podling.values.isolation import NetworkAttachment

LIVE = ("running", "paused")


def connect(engine: Engine, container: Container, attachment: NetworkAttachment) -> None:
    """The container joins a network: at once where it runs, else with its next start. One that is on it already stays as it is.

    NoSuchNetwork; InvalidArgument for a container whose network mode is not bridge.
    """
    with engine.lock("container", container.id).exclusive():
        config = _pinned(_bridged(engine, container))
        name = engine.networks.get(attachment.network).name
        state = engine.containers.state(container.id)
        if any(each.network == name for each in config.networks):
            if state.status in LIVE:             # as Podman, which leaves it at that for one that does not run
                raise AlreadyExists(f"container {container.id} is already connected to network {name}: network is already connected")
            return
        attachment = attachment.replace(network=name)
        changed = config.replace(networks=(*config.networks, attachment))
        attachment = attachment.replace(interface=plan.interface_of(changed, name))
        changed = config.replace(networks=(*config.networks, attachment))
        if state.status in LIVE:
            status = setup.connect(changed, attachment, networks=engine.networks, leases=Leases(engine.database), conf=engine.conf,
                                   runroot=engine.paths.runroot)
            live_etc.joined(changed, engine.paths.run(container.id), status, state.network.values())
            engine.containers.save_state(state.replace(network={**state.network, name: status}))
        _save(engine, container, changed)


def disconnect(engine: Engine, container: Container, network: str, *, force: bool = False) -> None:
    """The container leaves a network; with ``force`` also where the driver could not undo everything."""
    with engine.lock("container", container.id).exclusive():
        config = _pinned(_bridged(engine, container))
        names = [each.network for each in config.networks]
        name = network if network in names else engine.networks.get(network).name
        if name not in names:
            raise InvalidArgument(f"container {container.id} is not connected to network {name}: network not found",
                                  hint=f"it is on: {', '.join(names)}" if names else "it is on none")
        state = engine.containers.state(container.id)
        if state.status in LIVE:
            try:
                setup.disconnect(config, name, networks=engine.networks, leases=Leases(engine.database), conf=engine.conf,
                                 runroot=engine.paths.runroot)
            except PodlingError as error:
                if not force:
                    raise
                log.warning(f"container {container.name} leaves network {name} although not all of it was undone: {explain(error)}")
            left = {other: status for other, status in state.network.items() if other != name}
            if name in state.network:
                live_etc.left(config, engine.paths.run(container.id), state.network[name], left.values())
            engine.containers.save_state(state.replace(network=left))
        _save(engine, container, config.replace(networks=tuple(each for each in config.networks if each.network != name)))


def reload(engine: Engine, container: Container) -> None:
    """Do the firewall's part again for a running container; WrongState for one that does not run."""
    with engine.lock("container", container.id).exclusive():
        if engine.containers.state(container.id).status not in LIVE:
            raise WrongState("cannot reload network unless container network has been configured: container state improper",
                             hint=f"it is set up when the container starts: podling start {container.name}")
        setup.reload(engine.containers.config(container.id), conf=engine.conf, runroot=engine.paths.runroot)


def running(engine: Engine) -> list[Container]:
    """The containers that ``reload --all`` means."""
    return [container for container, state in engine.containers.list_with_states() if state.status in LIVE]


def _bridged(engine: Engine, container: Container) -> ContainerConfig:
    config = engine.containers.config(container.id)
    if config.net_ns.mode != "bridge":
        raise InvalidArgument(f"{config.net_ns.mode!r} is not supported: invalid network mode".replace("'", '"'),
                              hint="only a container with a bridge network can join and leave networks")
    return config


def _pinned(config: ContainerConfig) -> ContainerConfig:
    """With the names of its interfaces said for each network, so that none changes when one comes or goes."""
    return config.replace(networks=tuple(each.replace(interface=plan.interface_of(config, each.network)) for each in config.networks))


def _save(engine: Engine, container: Container, config: ContainerConfig) -> None:
    changed = container.replace(networks=tuple(each.network for each in config.networks))
    engine.containers.save_config(changed, config)
