"""``exec``: one more process in a running container."""

from __future__ import annotations

from podling import launch
from podling.engine import names
from podling.engine.create import read_lines
from podling.engine.engine import Engine
from podling.engine.options import ExecOptions
from podling.engine.resolve import TERMINAL, set_variable
from podling.errors import InvalidArgument, NotFound, WrongState
from podling.linux.files import remove_tree
from podling.model import Container, ContainerConfig, ExecConfig, Facts
from podling.runtime import host, sessions, spec, streams, users
from podling.runtime.monitor import execute as one_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def execute(engine: Engine, container: Container, options: ExecOptions) -> int:
    """Run the command with this process' own standard streams; its exit code, 0 once it is detached from."""
    config, session, document = _prepare(engine, container, options)
    run = engine.paths.run(config.id)
    keys = engine.conf.detach_keys if options.detach_keys is None else options.detach_keys
    if not session.terminal:
        if keys != streams.DEFAULT_DETACH_KEYS:
            from podling.runtime import terminals

            terminals.parse_detach_keys(keys)    # a wrong sequence is told also where nothing is typed
        return one_more.exec_direct(config, session, document, run=run)
    status = one_more.exec_attached(config, session, document, run=run, conf=engine.conf, conmon=engine.options.conmon or "",
                                    detach_keys=keys)
    return status or 0


def execute_detached(engine: Engine, container: Container, options: ExecOptions) -> str:
    """Start the command and leave it; the session's id."""
    config, session, document = _prepare(engine, container, options)
    one_more.exec_detached(config, session, document, run=engine.paths.run(config.id), conf=engine.conf,
                           conmon=engine.options.conmon or "")
    return session.id


def clean_up_session(engine: Engine, container: Container, name: str) -> None:
    """Forget an exec session that ended; ``name``: its id or the beginning of it."""
    run = engine.paths.run(container.id)
    session = next((each for each in sessions.ids(run) if each.startswith(name)), None)
    if session is None:
        raise NotFound(f"no exec session with ID {name} found in container {container.id}: no such exec session")
    remove_tree(f"{sessions.directory(run)}/{session}")


def _prepare(engine: Engine, container: Container, options: ExecOptions) -> tuple[ContainerConfig, ExecConfig, dict[str, Any]]:
    """The container, what was decided, and the OCI process."""
    state = engine.containers.state(container.id)
    if state.status != "running":
        raise WrongState("can only create exec sessions on running containers: container state improper",
                         hint=f"start it first: podling start {container.name}")
    config = engine.containers.config(container.id)
    if engine.owner and config.cgroup_manager == "systemd":
        from podling.linux import scopes

        scopes.enter(engine.owner.uid)
    session = _decide(config, options)
    facts = Facts(rootfs=f"/proc/{state.pid}/root", pid=state.pid)
    added = config.group_add if options.user is None else ()
    user = users.lookup(users.Accounts(facts.rootfs), session.user, added)
    facts = facts.replace(uid=user.uid, gid=user.gid, groups=user.groups, home=user.home)
    if config.uid_map:
        from podling.engine import permissions, staging  # for containers with ids of their own alone

        permissions.check_ids(config, user.uid, user.gid)
        staging.keep(engine, config)
    return config, session, spec.process(session, config, facts, host.process_facts())


def _decide(config: ContainerConfig, options: ExecOptions) -> ExecConfig:
    if not options.command:
        raise InvalidArgument("must provide a non-empty command to start an exec session: invalid argument")
    env: dict[str, str] = {}
    for line in (*((TERMINAL,) if options.terminal else ()), *config.env):
        set_variable(env, line)
    environ = launch.caller_environment()
    for path in options.env_files:
        for line in read_lines(path, f'parsing file "{path}"'):
            set_variable(env, line, environ)
    for line in options.env:
        set_variable(env, line, environ)
    return ExecConfig(id=names.random_id(), container_id=config.id, command=options.command,
                      env=tuple(f"{name}={value}" for name, value in env.items()),
                      user=config.user if options.user is None else options.user,
                      working_dir=options.working_dir or config.working_dir, terminal=options.terminal,
                      stdin_open=options.stdin_open, privileged=options.privileged,
                      detach_keys=options.detach_keys or "", preserve_fds=options.preserve_fds)
