"""``system migrate`` and ``system reset``: a user's namespace is made anew, a store is emptied."""

from __future__ import annotations

import os

from podling import log
from podling.engine.engine import Engine
from podling.engine.options import RemoveOptions, StopOptions
from podling.engine.remove import remove
from podling.engine.stop import stop, unpause
from podling.errors import NoSuchContainer, PodlingError, explain
from podling.linux import mounts, pids, process
from podling.linux.files import remove_tree
from podling.runtime.monitor.runtimes import choose_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def migrate(engine: Engine, new_runtime: str = "") -> Iterator[str]:
    """Stop an ordinary user's containers and end the user's namespaces, so that the next command makes them as /etc/subuid says now.

    Gives the ids of the containers that were stopped. ``new_runtime``: what all containers are run by from now on, root's too.
    """
    if new_runtime:
        chosen = choose_runtime(engine.conf, new_runtime, cache=engine.paths.cache)
        for container in engine.containers.all():
            with engine.lock("container", container.id).exclusive():
                config = engine.containers.config(container.id)
                if engine.containers.state(container.id).status not in ("running", "paused"):
                    engine.containers.save_config(container, config.replace(runtime=chosen.name, runtime_path=chosen.path))
    if not engine.rootless:
        return
    for container, state in engine.containers.list_with_states():
        if state.status in ("running", "paused"):
            if state.status == "paused":
                unpause(engine, container)
            stop(engine, container, StopOptions())
            yield container.id
    if not engine.containers.all():
        _unlink(f"{engine.paths.graphroot}/driver")          # nothing was written by it: the next command may find a better one
    _end_holder(engine)


def reset(engine: Engine) -> None:
    """Remove all containers, volumes, images, networks and everything else in the two roots."""
    for container in engine.containers.all():
        try:
            remove(engine, container, RemoveOptions(force=True, depend=True, volumes=True, timeout=0.0))
        except NoSuchContainer:
            continue                                         # with one that it needed
        except PodlingError as error:
            log.error(f"removing container {container.id}: {explain(error)}")
    if not engine.rootless:
        from podling.network.bridge import sweeping

        sweeping.now(engine.conf, engine.paths.runroot)      # the last container's end left it to a child, which needs the run root
    _remove_networks(engine)
    engine.close()
    for directory in (engine.paths.graphroot, engine.paths.runroot):
        mounts.unmount_all(directory)
    if engine.rootless:
        _end_holder(engine)
    for directory in (engine.paths.graphroot, engine.paths.runroot):
        remove_tree(directory)


def _remove_networks(engine: Engine) -> None:
    """The definitions of all networks; the default one exists without."""
    for network in engine.networks.list():
        _unlink(f"{engine.networks.directory}/{network.name}.json")


def _end_holder(engine: Engine) -> None:
    """End the process that holds the user's namespaces; they end with the last process in them, which this one is."""
    from podling.linux import holder

    pid, start = holder.holder(engine.paths.runroot)
    if pid:
        pids.kill(pid, start, process.SIGKILL)
    _unlink(f"{engine.paths.runroot}/userns.pid")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
