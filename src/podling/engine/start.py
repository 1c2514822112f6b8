"""``start``: a created or ended container runs; and what follows when it ends."""

from __future__ import annotations

import os
import time

from podling import log
from podling.engine import steps
from podling.engine.engine import Engine
from podling.engine.roots import is_up
from podling.engine.steps import Starting
from podling.errors import NoSuchContainer, PodlingError, WrongState, explain
from podling.linux import mounts, pids
from podling.linux.files import remove_tree, write_atomic
from podling.model import Container, ContainerConfig, ContainerState, Facts
from podling.runtime import monitor
from podling.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from podling.linux.locks import Held


def start(engine: Engine, container: Container, *, restarts: int = 0, preserve_fds: int = 0) -> ContainerState:
    """Start the container and what it needs; its state then. One that runs already is left alone; a failed start leaves nothing up."""
    with Prepared(engine, container, restarts=restarts, preserve_fds=preserve_fds) as prepared:
        return prepared.go()


class Prepared:
    """A container that exists in the runtime, its process not yet started: whoever attaches now misses no output.

        with Prepared(engine, container, attended=True) as prepared:
            ...                      # attach
            prepared.go()

    The container is locked until :meth:`go` or the end of the block; without ``go`` everything is taken down again.
    ``preserve_fds``: how many of this process' descriptors, from 3 on, the container's gets.
    ``attended``: this process stays until the container's end and calls :func:`clean_up`. ``already`` is its state where it
    runs already.
    """

    def __init__(self, engine: Engine, container: Container, *, attended: bool = False, restarts: int = 0,
                 preserve_fds: int = 0) -> None:
        self.engine = engine
        self.container = container
        self.attended = attended
        self.restarts = restarts
        self.preserve_fds = preserve_fds
        self.already: ContainerState | None = None
        self.stored: ContainerState | None = None
        self.facts = Facts()
        self._undo = Undo()
        self._lock: Held | None = None

    def __enter__(self) -> Prepared:
        _start_needed(self.engine, self.container)
        self._lock = self.engine.lock("container", self.container.id).exclusive()
        self._lock.__enter__()
        try:
            self._prepare()
        except BaseException as error:
            self._failed(error)
            raise
        return self

    def _prepare(self) -> None:
        engine, container_id = self.engine, self.container.id
        stored = engine.containers.stored_state(container_id)
        state = engine.containers.observe(stored)
        if state.status == "running":
            self.already = state
            return
        if state.status == "paused":
            raise WrongState(f"container {container_id} must be in Created or Stopped state to be started: container state improper",
                             hint=f"podling unpause {self.container.name}")
        self.stored = stored                 # from here on a failure is a failed start
        self.config = engine.containers.config(container_id)
        if is_up(engine, container_id):     # a start or an end was cut off half-way
            steps.down(engine, self.config)
        self._undo.callback(steps.down, engine, self.config)
        self.starting = Starting(engine, self.config, attended=self.attended, preserve_fds=self.preserve_fds)
        self.facts = steps.up(self.starting)

    def go(self) -> ContainerState:
        """Start the process and let go of the lock."""
        if self.already is not None:
            self._release()
            return self.already
        state = _running(self.config, self.facts, self.restarts)   # looked up first: the process may be gone at once
        monitor.start(self.config)
        monitor.notify.started(self.config, self.facts.conmon_pid)
        self.engine.containers.save_state(state)
        _write_pidfiles(self.config, self.facts)
        self._undo = Undo()
        self._release()
        return state

    def leave(self) -> None:
        """This process waits no longer; conmon's exit command cleans up."""
        if self.starting.lock is not None:
            self.starting.lock.release()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._failed(error)

    def _failed(self, error: BaseException | None) -> None:
        """Take down what is not started, and write why."""
        if self._lock is None:
            return
        self._undo.run()
        if self.stored is not None and self.already is None and isinstance(error, (PodlingError, OSError)):
            self.engine.containers.save_state(self.stored.replace(
                status="created" if self.stored.status == "created" else "exited", pid=0, conmon_pid=0, network={},
                error=explain(error), exit_code=getattr(error, "exit_code", 125), finished=time.time_ns()))
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None


def _running(config: ContainerConfig, facts: Facts, restarts: int) -> ContainerState:
    return ContainerState(id=config.id, status="running", boot_id=pids.boot_id(), pid=facts.pid,
                          pid_start=pids.start_time(facts.pid), conmon_pid=facts.conmon_pid, started=time.time_ns(),
                          restart_count=restarts, network=facts.network)


def _write_pidfiles(config: ContainerConfig, facts: Facts) -> None:
    for path, pid in ((config.pidfile, facts.pid), (config.conmon_pidfile, facts.conmon_pid)):
        if path:
            write_atomic(path, f"{pid}".encode(), 0o644)


def _start_needed(engine: Engine, container: Container) -> None:
    """Start the containers whose namespaces are joined, and those of ``--requires``."""
    for needed in engine.containers.needs(container.id):
        if engine.containers.state(needed).status != "running":
            start(engine, engine.containers.get(needed))


def clean_up(engine: Engine, container_id: str, *, restart: bool = True, remove: bool = True) -> ContainerState | None:
    """What follows a container's end: everything is taken down, how it ended is written, ``--rm`` and ``--restart`` are served.

    Idempotent; called by the process that waited, by conmon's exit command and by whoever finds an ended container. Does
    nothing while the container runs. None where the container is gone afterwards. Without ``restart`` and ``remove`` the
    policy and ``--rm`` are left alone.
    """
    try:
        config = engine.containers.config(container_id)
    except NoSuchContainer:
        return None
    with engine.lock("container", container_id).exclusive() as held:
        try:
            stored = engine.containers.stored_state(container_id)
        except NoSuchContainer:              # removed meanwhile, perhaps by a command that was killed in the middle of it
            remove_run_directory(engine, container_id)
            held.remove()
            return None
        state = engine.containers.settled(stored)
        if state.status in ("running", "paused"):
            return state
        half_removed = config.auto_remove and stored.status == "exited"      # by somebody who was killed then
        if not is_up(engine, container_id) and stored.status not in ("running", "paused", "stopping") and not half_removed:
            return state
        state = finish(engine, config, stored)
        if config.auto_remove and remove:
            _remove_ended(engine, config)
            held.remove()
            return None
    if restart and _wants_restart(config, state):
        return _restart(engine, container_id, state)
    return state


def remove_run_directory(engine: Engine, container_id: str) -> None:
    """Delete the bundle of a container that exists no longer, with what is mounted in it; the caller holds its lock."""
    mounts.unmount_all(engine.paths.run(container_id))
    remove_tree(engine.paths.run(container_id))


def finish(engine: Engine, config: ContainerConfig, stored: ContainerState) -> ContainerState:
    """Take an ended container down and write how it ended; the caller holds its lock."""
    state = engine.containers.settled(stored)
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
