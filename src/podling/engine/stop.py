"""``stop``, ``kill``, ``restart``, ``pause``, ``unpause`` and ``wait``."""

from __future__ import annotations

import time

from podling.engine.engine import Engine
from podling.engine.options import StopOptions, WaitOptions
from podling.engine.start import clean_up, start
from podling.errors import InvalidArgument, NoSuchContainer, PodlingError, Unsupported, WrongState
from podling.linux import cgroups, pids
from podling.model import Container, ContainerConfig, ContainerState
from podling.runtime import monitor
from podling.values.signals import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KILL_SECONDS = 10.0                          # how long a killed container may take to be gone
CONDITIONS = ("configured", "created", "exited", "healthy", "initialized", "paused", "removing", "running", "stopped", "stopping",
              "unhealthy")


def stop(engine: Engine, container: Container, options: StopOptions) -> bool:
    """Stop the container; True if it was running. The restart policy does not start it again."""
    return Stopping(engine, container, options).finish()


class Stopping:
    """A container that has been told to stop; :meth:`finish` waits for its end, so that several end side by side.

    Should this process be killed in between, conmon's exit command cleans up.
    """

    def __init__(self, engine: Engine, container: Container, options: StopOptions) -> None:
        self._engine = engine
        self._id = container.id
        with engine.lock("container", container.id).exclusive():
            stored = engine.containers.stored_state(container.id)
            self._state = engine.containers.observe(stored)
            if self._state.status == "paused":
                raise WrongState(f"cannot stop container {container.id}: it is paused: container state improper",
                                 hint=f"podling unpause {container.name}")
            self._is_down = stored.status in ("created", "exited")
            self._runs = self._state.status in ("running", "stopping")
            if self._is_down:
                if stored.status == "exited" and not stored.stopped_by_user:
                    engine.containers.save_state(stored.replace(stopped_by_user=True))
                return
            engine.containers.save_state(stored.replace(status="stopping", stopped_by_user=True))
            self._config = engine.containers.config(container.id)
            self._attended = monitor.Attended(engine.paths.run(container.id))
        self._timeout = self._config.stop_timeout if options.timeout is None else options.timeout
        self._since = time.monotonic()
        if self._runs:
            self._tell()

    def _tell(self) -> None:
        """Send the stop signal, or SIGKILL.

        The first process of a pid namespace does not get signals that it has no handler for: then waiting would be in vain.
        """
        config, state = self._config, self._state
        if self._timeout != 0 and (config.pid_ns.mode != "private" or pids.takes_signal(state.pid, config.stop_signal)):
            monitor.kill(config, config.stop_signal, pid=state.pid, start=state.pid_start)
        else:
            self._timeout = 0
            monitor.kill(config, SIGKILL, every=True, pid=state.pid, start=state.pid_start)

    def finish(self, *, remove: bool = True) -> bool:
        """Wait, kill it where it does not end in time, and take it down; True if it was running.

        ``remove``: whether one with ``--rm`` goes.
        """
        if self._is_down:
            return False
        with self._attended:
            if self._runs:
                self._await_end()
            clean_up(self._engine, self._id, restart=False, remove=remove)
        return True

    def _await_end(self) -> None:
        config, state = self._config, self._state
        if self._timeout != 0:
            left = None if self._timeout < 0 else max(0.0, self._since + self._timeout - time.monotonic())
            if pids.wait_gone(state.pid, state.pid_start, left):
                return
            monitor.kill(config, SIGKILL, every=True, pid=state.pid, start=state.pid_start)
        if not pids.wait_gone(state.pid, state.pid_start, KILL_SECONDS):
            raise PodlingError(f"container {config.id} did not end {KILL_SECONDS:.0f} seconds after SIGKILL",
                               hint=f"see what its process {state.pid} waits for: cat /proc/{state.pid}/stack")


def kill(engine: Engine, container: Container, signal: int) -> None:
    """Send a signal to the container's first process."""
    state = engine.containers.state(container.id)
    if state.status not in ("running", "paused", "stopping"):
        raise WrongState(f"can only kill running containers. {container.id} is in state {state.status}: container state improper")
    config = engine.containers.config(container.id)
    if signal != SIGKILL:
        monitor.kill(config, signal, pid=state.pid, start=state.pid_start)
        return
    with engine.lock("container", container.id).exclusive():
        stored = engine.containers.stored_state(container.id)
        engine.containers.save_state(stored.replace(stopped_by_user=True))
        attended = monitor.Attended(engine.paths.run(container.id))
    with attended:
        monitor.kill(config, signal, pid=state.pid, start=state.pid_start)
        if pids.wait_gone(state.pid, state.pid_start, KILL_SECONDS):
            clean_up(engine, container.id, restart=False)


def restart(engine: Engine, container: Container, options: StopOptions) -> None:
    """Stop the container if it runs, and start it. One with ``--rm`` is not gone in between."""
    if engine.containers.state(container.id).status == "paused":
        raise WrongState(f"unable to restart a container in a paused or unknown state: {container.id}: container state improper",
                         hint=f"podling unpause {container.name}")
    Stopping(engine, container, options).finish(remove=False)
    start(engine, container)


def pause(engine: Engine, container: Container) -> None:
    """Freeze every process of a running container."""
    _freeze(engine, container, wanted="running", status="paused", act=monitor.pause, word="pause")


def unpause(engine: Engine, container: Container) -> None:
    """Let a paused container go on."""
    _freeze(engine, container, wanted="paused", status="running", act=monitor.resume, word="unpause")


def _freeze(engine: Engine, container: Container, *, wanted: str, status: str, act: Callable[[ContainerConfig], None],
            word: str) -> None:
    if engine.rootless and cgroups.layout() != "v2":
        raise Unsupported(f"can not {word} containers on rootless containers with cgroup V1: invalid argument",
                          hint="run as root, or boot the host with systemd.unified_cgroup_hierarchy=1")
    with engine.lock("container", container.id).exclusive():
        stored = engine.containers.stored_state(container.id)
        state = engine.containers.observe(stored)
        if state.status != wanted:
            why = "already paused" if state.status == status == "paused" else f"not {wanted}, can't {word}"
            raise WrongState(f'"{container.id}" is {why}: container state improper')
        act(engine.containers.config(container.id))
        engine.containers.save_state(stored.replace(status=status))


def wait(engine: Engine, container_id: str, options: WaitOptions) -> int:
    """Block until the container is in one of the conditions; its exit code, or -1 where another condition was met.

    A container that is removed meanwhile has met "exited", "stopped" and "removing".
    """
    conditions = options.conditions or ("stopped",)
    for condition in conditions:
        if condition not in CONDITIONS:
            raise InvalidArgument(f"unknown container state: {condition}: invalid argument", hint=f"one of {', '.join(CONDITIONS)}")
    ends = [c for c in conditions if c in ("stopped", "exited")]
    while True:
        try:
            state = engine.containers.state(container_id)
        except NoSuchContainer:
            code = engine.containers.last_exit_code(container_id)
            return -1 if code is None else code
        if state.status in ("exited", "created") and ends and (state.status == "exited" or "stopped" in ends):
            return state.exit_code
        if _meets(state, conditions):
            return -1
        if ends and state.pid and len(ends) == len(conditions):
            pids.wait_gone(state.pid, state.pid_start, None)
            if engine.containers.state(container_id).status in ("running", "stopping", "paused"):
                time.sleep(0.005)             # the process is gone, its exit file not yet written
        else:
            time.sleep(options.interval)


def _meets(state: ContainerState, conditions: tuple[str, ...]) -> bool:
    status = "created" if state.status == "configured" else state.status
    return status in conditions or (status == "created" and "configured" in conditions)
