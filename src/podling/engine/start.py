"""``start``: a created or ended container runs; and what follows when it ends."""

from __future__ import annotations

import os
import time

from podling import log
from podling.engine import steps
from podling.engine.engine import Engine
from podling.engine.steps import Starting
from podling.errors import NoSuchContainer, PodlingError, WrongState, explain
from podling.linux import process
from podling.linux.files import write_atomic
from podling.model import Container, ContainerConfig, ContainerState, Facts
from podling.runtime import monitor
from podling.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def start(engine: Engine, container: Container, *, attended: bool = False, before: Callable[[ContainerConfig], None] | None = None,
          restarts: int = 0) -> ContainerState:
    """Start the container and what it needs; its state then.

    ``before`` is called when the container is made but its process not yet started: whoever attaches there misses no
    output. ``attended``: this process stays until the container's end and calls :func:`clean_up`. A failed start leaves
    nothing up. A container that runs already is left alone.
    """
    _start_needed(engine, container)
    with engine.lock("container", container.id).exclusive():
        stored = engine.containers.stored_state(container.id)
        state = engine.containers.observe(stored)
        if state.status == "running":
            return state
        if state.status == "paused":
            raise WrongState(f"unable to start container {container.id}: container is paused: container state improper",
                             hint=f"podling unpause {container.name}")
        config = engine.containers.config(container.id)
        if steps.is_up(engine, container.id):     # a start or an end was cut off half-way
            steps.down(engine, config)
        return _start(engine, config, stored, attended=attended, before=before, restarts=restarts)


def _start(engine: Engine, config: ContainerConfig, stored: ContainerState, *, attended: bool,
           before: Callable[[ContainerConfig], None] | None, restarts: int) -> ContainerState:
    try:
        with Undo() as undo:
            undo.callback(steps.down, engine, config)
            facts = steps.up(Starting(engine, config, attended=attended))
            if before is not None:
                before(config)
            monitor.start(config)
            state = _running(config, facts, restarts)
            engine.containers.save_state(state)
            _write_pidfiles(config, facts)
            return state
    except (PodlingError, OSError) as error:
        code = getattr(error, "exit_code", 125)
        engine.containers.save_state(stored.replace(
            status="exited" if stored.status != "created" else "created", pid=0, conmon_pid=0, error=explain(error),
            exit_code=code, network={}, finished=time.time_ns()))
        raise


def _running(config: ContainerConfig, facts: Facts, restarts: int) -> ContainerState:
    return ContainerState(id=config.id, status="running", boot_id=process.boot_id(), pid=facts.pid,
                          pid_start=process.start_time(facts.pid), conmon_pid=facts.conmon_pid, started=time.time_ns(),
                          restart_count=restarts, network=facts.network)


def _write_pidfiles(config: ContainerConfig, facts: Facts) -> None:
    for path, pid in ((config.pidfile, facts.pid), (config.conmon_pidfile, facts.conmon_pid)):
        if path:
            write_atomic(path, f"{pid}".encode(), 0o644)


def _start_needed(engine: Engine, container: Container) -> None:
    """Start the containers whose namespaces are joined."""
    for needed in engine.containers.needs(container.id):
        if engine.containers.state(needed).status != "running":
            start(engine, engine.containers.get(needed))


def clean_up(engine: Engine, container_id: str, *, restart: bool = True) -> ContainerState | None:
    """What follows a container's end: everything is taken down, how it ended is written, ``--rm`` and ``--restart`` are served.

    Idempotent; called by the process that waited, by conmon's exit command and by whoever finds an ended container. Does
    nothing while the container runs. None where the container is gone afterwards.
    """
    try:
        config = engine.containers.config(container_id)
    except NoSuchContainer:
        return None
    with engine.lock("container", container_id).exclusive():
        try:
            stored = engine.containers.stored_state(container_id)
        except NoSuchContainer:
            return None
        state = engine.containers.observe(stored)
        if state.status in ("running", "paused"):
            return state
        if not steps.is_up(engine, container_id) and stored.status not in ("running", "paused", "stopping"):
            return state
        state = finish(engine, config, stored)
        if config.auto_remove:
            _remove_ended(engine, config)
            return None
    if restart and _wants_restart(config, state):
        return _restart(engine, container_id, state)
    return state


def finish(engine: Engine, config: ContainerConfig, stored: ContainerState) -> ContainerState:
    """Take an ended container down and write how it ended; the caller holds its lock."""
    state = engine.containers.observe(stored)
    oom_killed = os.path.exists(os.path.join(engine.paths.run(config.id), "oom"))
    steps.down(engine, config)
    if stored.status in ("running", "paused", "stopping"):
        state = state.replace(status="exited", pid=0, pid_start=0, conmon_pid=0, network={}, oom_killed=oom_killed,
                              finished=state.finished or time.time_ns())
        engine.containers.save_state(state)
    return state


def _remove_ended(engine: Engine, config: ContainerConfig) -> None:
    from podling.engine.remove import discard

    discard(engine, config, with_volumes=True)


def _wants_restart(config: ContainerConfig, state: ContainerState) -> bool:
    policy = config.restart
    if state.stopped_by_user or policy.name in ("no", ""):
        return False
    if policy.name == "on-failure":
        return state.exit_code != 0 and (policy.retries == 0 or state.restart_count < policy.retries)
    return policy.name in ("always", "unless-stopped")


def _restart(engine: Engine, container_id: str, ended: ContainerState) -> ContainerState:
    """Start again by the restart policy."""
    try:
        return start(engine, engine.containers.get(container_id), restarts=ended.restart_count + 1)
    except PodlingError as error:
        log.error(f"restarting container {container_id}: {explain(error)}")
        return engine.containers.stored_state(container_id)
