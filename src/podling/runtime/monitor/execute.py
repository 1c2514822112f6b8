"""One more process in a running container.

Without a terminal and not detached the runtime is our own child: no conmon, and pipes of ours become the command's streams as
they are. With a terminal, or detached, a conmon holds the streams as it does for containers; its bundle is ``exec/<session>`` in
the container's.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.linux import files, process
from podling.runtime import sessions, streams
from podling.runtime.monitor import oci, relay
from podling.runtime.monitor.conmon import Launch, exit_arguments, find_conmon, input_arguments, shared_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig, ExecConfig
else:
    import _signal as signal

_LOST = 255                                  # conmon was killed and took the exit code with it


def exec_direct(config: ContainerConfig, session: ExecConfig, document: dict[str, Any], *, run: str) -> int:
    """Run the command with this process' standard streams; its exit code. ``document``: the OCI process."""
    bundle = _bundle(run, session, document)
    try:
        argv = [config.runtime_path, *config.runtime_flags, "--log-format=json", "--log", f"{bundle}/oci-log", "exec", "--process",
                f"{bundle}/process.json"]
        if session.preserve_fds:
            argv += ["--preserve-fds", str(session.preserve_fds)]
        with relay.Relay(takes_input=session.stdin_open, log=f"{bundle}/oci-log") as streams_:
            stdin, stdout, stderr = streams_.for_program
            pid = process.spawn([*argv, config.id], stdin=stdin, stdout=stdout, stderr=stderr, env=oci.environment(config.id),
                                pass_fds=range(3, 3 + session.preserve_fds))
            status = _wait_as_one(pid, streams_)
        if status:
            message = oci.logged_error(f"{bundle}/oci-log")
            if message:
                raise oci.failure(config.runtime, message, argv=tuple(argv), status=status)
        return status if status >= 0 else 128 - status
    finally:
        files.remove_tree(bundle)


def _wait_as_one(pid: int, streams_: relay.Relay) -> int:
    """Wait for our child; an interrupt from the terminal reaches it by itself, other signals are passed on."""
    passed = [int(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")]

    def pass_on(number: int, _frame: object) -> None:
        os.kill(pid, number)                 # not reaped before the handlers are gone: the pid stays its own

    def stay(_number: int, _frame: object) -> None:
        """The terminal sent it to the whole group."""

    before = {number: signal.signal(number, pass_on) for number in passed}
    before[int(signal.SIGINT)] = signal.signal(signal.SIGINT, stay)
    try:
        streams_.run(pid)
    except BaseException:
        os.kill(pid, int(signal.SIGTERM))     # nobody would take its output any more
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        status = process.wait(pid)
    return status


def exec_attached(config: ContainerConfig, session: ExecConfig, document: dict[str, Any], *, run: str, conf: ContainersConf,
                  conmon: str, detach_keys: str) -> int | None:
    """Run the command on a terminal of its own that this process' is attached to; its exit code, None once detached."""
    bundle = _bundle(run, session, document)
    detached = False
    try:
        argv = [*_arguments(config, session, bundle, conf, conmon), "--exec-attach"]
        with Launch(argv, config, bundle=bundle, attach=True) as launch:
            launch.wait_attachable()

            def go() -> int:
                launch.go()
                launch.answer()
                return -1

            outcome = streams.attach(bundle, terminal=session.terminal, stdin=0 if session.stdin_open else None, stdout=1, stderr=2,
                                     detach_keys=detach_keys, start=go)
            detached = outcome == streams.DETACHED
            if detached:
                return None
            status = launch.last_answer()
            return _LOST if status is None else status
    finally:
        if not detached:
            files.remove_tree(bundle)


def exec_detached(config: ContainerConfig, session: ExecConfig, document: dict[str, Any], *, run: str, conf: ContainersConf,
                  conmon: str) -> None:
    """Start the command and leave it; it runs when this returns."""
    bundle = _bundle(run, session, document)
    try:
        with Launch(_arguments(config, session, bundle, conf, conmon), config, bundle=bundle) as launch:
            launch.answer()
    except BaseException:
        files.remove_tree(bundle)
        raise


def _arguments(config: ContainerConfig, session: ExecConfig, bundle: str, conf: ContainersConf, conmon: str) -> list[str]:
    os.mkdir(f"{bundle}/exits", 0o700)     # conmon writes a file "exit" beside it
    argv = [find_conmon(conmon, conf.conmon_path), *shared_arguments(config, bundle, session.id), "--exec",
            "--exec-process-spec", f"{bundle}/process.json", "--exit-dir", f"{bundle}/exits", "--persist-dir", bundle,
            "--container-pidfile", f"{bundle}/pidfile", "--log-path", "none",
            *exit_arguments(("/bin/rm", "-rf", "--", bundle))]
    return argv + input_arguments(terminal=session.terminal, stdin_open=session.stdin_open)


def _bundle(run: str, session: ExecConfig, document: dict[str, Any]) -> str:
    """The session's directory with its process.json."""
    bundle = f"{sessions.directory(run)}/{session.id}"
    os.makedirs(bundle, 0o700)
    files.write_atomic(f"{bundle}/process.json", jsontext.dumps(document).encode("utf-8", "surrogateescape"), 0o600)
    return bundle
