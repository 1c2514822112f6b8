"""``rm``: a container and all that is its own disappear."""

from __future__ import annotations

import os

from podling import log
from podling.engine import steps, volumes
from podling.engine.engine import Engine
from podling.engine.options import RemoveOptions, StopOptions
from podling.engine.roots import is_up
from podling.engine.start import finish
from podling.engine.stop import Stopping, unpause
from podling.errors import InUse, NoSuchContainer, PodlingError, WrongState, explain
from podling.model import Container, ContainerConfig
from podling.state.containers import LIVE


def tell(engine: Engine, container: Container, options: RemoveOptions) -> Stopping | None:
    """Have a running container that ``force`` will remove begin to end, so that several end side by side.

    None where it does not run, is paused, or cannot be removed: :func:`remove` knows what to do and to say.
    """
    try:
        if not options.force or engine.containers.dependents(container.id) or engine.containers.state(container.id).status != "running":
            return None
        return Stopping(engine, container, StopOptions(timeout=options.timeout))
    except (NoSuchContainer, WrongState) as error:
        log.debug(f"telling container {container.id} to end: {explain(error)}")
        return None


def remove(engine: Engine, container: Container, options: RemoveOptions, stopping: Stopping | None = None) -> list[str]:
    """Remove the container; ids of all that were removed (with ``depend``, the ones that needed it come first).

    ``stopping``: what :func:`tell` gave.
    """
    removed: list[str] = []
    for other in engine.containers.dependents(container.id):
        if not options.depend:
            others = ", ".join(engine.containers.dependents(container.id))
            raise InUse(f"container {container.id} has dependent containers which must be removed before it: {others}: "
                        "container already exists", hint="remove them first, or use 'podling rm --depend'")
        removed += remove(engine, engine.containers.get(other), options)
    state = engine.containers.state(container.id)
    if stopping is not None or state.status in ("running", "paused", "stopping"):
        if not options.force:
            raise WrongState(f"cannot remove container {container.id} as it is {state.status} - running or paused containers "
                             "cannot be removed without force: container state improper",
                             hint=f"stop it first, or use 'podling rm --force {container.name}'")
        _stop(engine, container, options, stopping)
    with engine.lock("container", container.id).exclusive() as held:
        try:
            config = engine.containers.config(container.id)
            stored = engine.containers.stored_state(container.id)
        except NoSuchContainer:                # --rm was quicker
            held.remove()
            return [*removed, container.id]
        if engine.containers.observe(stored).status == "running":
            raise WrongState(f"container {container.id} was started by another command: container state improper")
        try:
            if stored.status in LIVE or is_up(engine, config.id):
                finish(engine, config, stored)
        except PodlingError as error:
            if not options.force:
                raise
            log.warning(f"removing container {container.id} although not everything of it could be taken down: {explain(error)}")
        discard(engine, config, with_volumes=options.volumes)
        held.remove()
    return [*removed, container.id]


def _stop(engine: Engine, container: Container, options: RemoveOptions, stopping: Stopping | None) -> None:
    """End a running or paused container for its removal."""
    try:
        if stopping is None and engine.containers.state(container.id).status == "paused":
            unpause(engine, container)
        (stopping or Stopping(engine, container, StopOptions(timeout=options.timeout))).finish()
    except NoSuchContainer:
        log.debug(f"container {container.id} removed itself when it was stopped")


def discard(engine: Engine, config: ContainerConfig, *, with_volumes: bool) -> None:
    """Delete an ended container's rows, then its directories; the caller holds its lock.

    Rows first, in one transaction: a kill in between leaves only directories, which garbage collection finds.
    """
    anonymous = _anonymous_volumes(engine, config) if with_volumes else []
    engine.containers.remove(config.id)
    engine.filesystems.remove(config.id)
    if is_up(engine, config.id):
        steps.down(engine, config)
    for name in anonymous:
        _remove_volume(engine, name)
    for path in (config.pidfile, config.conmon_pidfile, _cidfile(config), os.path.join(engine.paths.exits, config.id)):
        if path and os.path.exists(path):
            os.unlink(path)


def _cidfile(config: ContainerConfig) -> str:
    """The container's cidfile; "" where it has none, or another container has it by now."""
    try:
        with open(config.cidfile, encoding="ascii", errors="replace") as file:
            return config.cidfile if file.read(len(config.id)) == config.id else ""
    except OSError as error:
        log.debug(f"cidfile of container {config.id}: {explain(error)}")
        return ""


def _anonymous_volumes(engine: Engine, config: ContainerConfig) -> list[str]:
    names = [mount.source for mount in config.mounts if mount.kind == "volume"]
    return [name for name in names if volumes.is_anonymous(engine, name)]


def _remove_volume(engine: Engine, name: str) -> None:
    if not engine.containers.using_volume(name):
        volumes.remove(engine, name)
