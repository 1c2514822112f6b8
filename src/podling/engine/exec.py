"""``exec``: one more process in a running container."""

from __future__ import annotations

import os

from podling import jsontext
from podling.engine import names
from podling.engine.create import read_lines
from podling.engine.engine import Engine
from podling.engine.options import ExecOptions
from podling.errors import InvalidArgument, NoSuchExecSession, WrongState
from podling.model import Container, ContainerConfig, ExecConfig
from podling.runtime import etc, monitor, streams
from podling.runtime.spec import exec_process


def execute(engine: Engine, container: Container, options: ExecOptions) -> int:
    """Run the command with this process' own standard streams; its exit code. A detached one gives 0 once it runs."""
    config = engine.containers.config(container.id)
    state = engine.containers.state(container.id)
    if state.status != "running":
        raise WrongState("can only create exec sessions on running containers: container state improper",
                         hint=f"start it first: podling start {container.name}")
    session = _decide(config, options)
    user = etc.find_user(f"/proc/{state.pid}/root", session.user, config.group_add if not options.user else ())
    document = exec_process(config, session, user)
    _remember(engine, session)
    try:
        if options.detach:
            return monitor.exec_detached(config, session, document, **_places(engine, config))
        if session.terminal:
            return streams.run_exec(config, session, document, **_places(engine, config))
        return monitor.exec_direct(config, session, document, run=engine.paths.run(config.id))
    finally:
        if not options.detach:
            forget(engine, session.id)


def execute_detached(engine: Engine, container: Container, options: ExecOptions) -> str:
    """Start the command and leave it; the session's id."""
    raise NotImplementedError


def _decide(config: ContainerConfig, options: ExecOptions) -> ExecConfig:
    if not options.command:
        raise InvalidArgument("must provide a non-empty command to start an exec session: invalid argument")
    env = dict(line.partition("=")[::2] for line in config.env)
    for path in options.env_files:
        env.update(line.partition("=")[::2] for line in read_lines(path))
    for line in options.env:
        name, separator, value = line.partition("=")
        if separator:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    return ExecConfig(id=names.random_id(), container_id=config.id, command=options.command,
                      env=tuple(f"{name}={value}" for name, value in env.items()),
                      user=config.user if options.user is None else options.user,
                      working_dir=options.working_dir or config.working_dir, terminal=options.terminal,
                      stdin_open=options.stdin_open, privileged=options.privileged,
                      detach_keys=options.detach_keys or "", preserve_fds=options.preserve_fds)


def _remember(engine: Engine, session: ExecConfig) -> None:
    engine.database.run("INSERT INTO exec_sessions (id, container_id, record) VALUES (?, ?, ?)", session.id, session.container_id,
                        jsontext.dumps(session))


def forget(engine: Engine, session_id: str) -> None:
    """Delete an exec session's row."""
    engine.database.run("DELETE FROM exec_sessions WHERE id = ?", session_id)


def sessions(engine: Engine, container_id: str) -> list[str]:
    """Ids of a container's exec sessions."""
    return [row[0] for row in engine.database.rows("SELECT id FROM exec_sessions WHERE container_id = ?", container_id)]


def find(engine: Engine, session_id: str) -> ExecConfig:
    """The exec session of this id or beginning of an id."""
    row = engine.database.row("SELECT record FROM exec_sessions WHERE id >= ? AND id < ?", session_id, session_id + "g")
    if row is None:
        raise NoSuchExecSession(f"no exec session with ID {session_id} found: no such exec session")
    return ExecConfig.from_json(jsontext.loads(row[0]))
