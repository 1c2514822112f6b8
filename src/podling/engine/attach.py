"""``run``, ``start --attach`` and ``attach``: a container's streams are this process' own."""

from __future__ import annotations

import os

from podling import log
from podling.engine.engine import Engine
from podling.engine.options import AttachOptions, RemoveOptions, RunOptions
from podling.engine.permissions import strange_mount
from podling.engine.remove import remove
from podling.engine.start import Prepared, clean_up, start
from podling.errors import NoSuchContainer, PodlingError, WrongState
from podling.linux import pids
from podling.model import Container, ContainerConfig, ContainerState
from podling.runtime import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def run(engine: Engine, container: Container, options: RunOptions, *, stdin: bool | None = None) -> int:
    """Start the container; its exit code, or 0 at once when it is detached from.

    This process stays until the end and cleans up itself, which saves a second interpreter; should it be killed, conmon's exit
    command does it. ``stdin``: whether input is passed on; None means, when the container has its input open.
    """
    try:
        if options.detach:
            start(engine, container, preserve_fds=options.preserve_fds)
            return 0
        return _run_attended(engine, container, options, stdin)
    except (PodlingError, OSError):
        _discard_unstarted(engine, container)
        raise


def _discard_unstarted(engine: Engine, container: Container) -> None:
    """A container with ``--rm`` that could not be started goes too."""
    if not container.auto_remove:
        return
    try:
        if engine.containers.state(container.id).status in ("created", "exited"):
            remove(engine, container, RemoveOptions(volumes=True))
    except NoSuchContainer:
        return


def _run_attended(engine: Engine, container: Container, options: RunOptions, stdin: bool | None) -> int:
    with Prepared(engine, container, attended=True, preserve_fds=options.preserve_fds) as prepared:
        if prepared.already is not None:
            raise WrongState(f"container {container.id} is already running: container state improper",
                             hint=f"podling attach {container.name}")
        watched: list[ContainerState] = []
        fd = pids.pidfd(prepared.facts.pid)

        def go() -> int:
            watched.append(prepared.go())
            return fd

        try:
            detached = _attach(engine, prepared.config, go, detach_keys=options.detach_keys, stdin=stdin,
                               sig_proxy=options.sig_proxy is not False)
        finally:
            os.close(fd)
    if detached:
        prepared.leave()
        return 0
    code = wait_end(engine, watched[0])
    clean_up(engine, container.id)
    if code and engine.rootless and (reason := strange_mount(prepared.config, prepared.facts)):
        log.warning(reason)
    return code


def attach(engine: Engine, container: Container, options: AttachOptions) -> int:
    """Attach to a running container; its exit code, or 0 when it is detached from."""
    state = engine.containers.state(container.id)
    if state.status != "running":
        raise WrongState("you can only attach to running containers", hint=f"start it: podling start --attach {container.name}")
    config = engine.containers.config(container.id)
    fd = pids.pidfd(state.pid)
    try:
        detached = _attach(engine, config, None, detach_keys=options.detach_keys, process_fd=fd,
                           stdin=False if options.no_stdin else None, sig_proxy=options.sig_proxy)
    finally:
        os.close(fd)
    return 0 if detached else wait_end(engine, state)


def _attach(engine: Engine, config: ContainerConfig, go: Callable[[], int] | None, *, detach_keys: str | None,
            stdin: bool | None, sig_proxy: bool, process_fd: int = -1) -> bool:
    """Until the container's end, False, or until the user leaves it, True."""
    from podling.runtime import streams  # not for those that are detached from the beginning

    wanted = config.attach or ("stdin", "stdout", "stderr")
    takes_input = config.stdin_open and "stdin" in wanted if stdin is None else stdin
    keys = engine.conf.detach_keys if detach_keys is None else detach_keys

    def kill(number: int) -> None:
        monitor.kill(config, number)

    outcome = streams.attach(
        engine.paths.run(config.id), terminal=config.terminal, stdin=0 if takes_input else None,
        stdout=1 if "stdout" in wanted else None, stderr=2 if "stderr" in wanted else None, detach_keys=keys,
        kill=kill if sig_proxy and not config.terminal else None, start=go, process=process_fd,
        has_ended=lambda: os.path.exists(os.path.join(engine.paths.exits, config.id)))
    return outcome == streams.DETACHED


def wait_end(engine: Engine, state: ContainerState) -> int:
    """Wait for the end of a container that was seen running; its exit code."""
    return monitor.wait_exit(engine.paths.exits, state.id, state.pid, state.pid_start).code
