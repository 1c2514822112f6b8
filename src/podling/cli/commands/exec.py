"""``podling exec``."""

from __future__ import annotations

import time

from podling import log
from podling.cli.commands.selecting import LATEST, one
from podling.cli.flags import Command, Flag
from podling.engine.exec import execute, execute_detached
from podling.engine.options import ExecOptions
from podling.errors import InvalidArgument, InvalidDetachKeys, NoSuchAccount, NoSuchContainer, PodlingError, WrongState, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_OPTIONS = ("detach", "detach_keys", "env", "env_files", "stdin_open", "terminal", "privileged", "user", "working_dir",
            "preserve_fds")
_NO_SESSION = 255                                # Podman's exit code where no session could be attached to


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Run a command in a running container; its exit code, or the session's id at once with ``--detach``."""
    if said.get("preserve_fds") or said.get("preserve_fd"):
        from podling.engine.descriptors import take_descriptors

        said["preserve_fds"] = take_descriptors(said.get("preserve_fds", 0), said.pop("preserve_fd", ()))
    if said.get("wait"):
        wait_for_start(context, said, args)
    container, command = one(context, said, args, no_name="exec requires the name or ID of a container or the --latest flag")
    options = ExecOptions(command=tuple(command), **context.options(said, *_OPTIONS))
    try:
        if options.detach:
            context.out.line(execute_detached(context.engine, container, options))
            return 0
        return execute(context.engine, container, options)
    except (InvalidDetachKeys, NoSuchAccount, WrongState) as error:
        if not options.detach:
            error.exit_code = _NO_SESSION
        raise


def wait_for_start(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """``--wait``: until the container exists and runs, for so many seconds at most."""
    if said.get("latest"):
        raise InvalidArgument("--latest and --wait may not be used together")
    end = time.monotonic() + said["wait"]
    while True:
        try:
            if context.engine.containers.state(context.engine.containers.find(args[0]).id).status == "running":
                return
        except NoSuchContainer as error:
            log.debug(explain(error))
        if time.monotonic() >= end:
            raise PodlingError(f"timed out waiting for container: {args[0]}")
        time.sleep(0.05)


EXEC = Command(
    "exec", "[options] CONTAINER COMMAND [ARG...]", "Run a process in a running container",
    "Execute the specified command inside a running container.\n",
    (
        Flag("--detach", "-d", "Run the exec session in detached mode (backgrounded)", kind="bool"),
        Flag("--detach-keys", help="Select the key sequence for detaching a container. Format is a single character [a-Z] or "
             "ctrl-<value> where <value> is one of: a-z, @, ^, [, , or _", default_text="ctrl-p,ctrl-q"),
        Flag("--env", "-e", "Set environment variables", kind="array"),
        Flag("--env-file", kind="array", into="env_files", help="Read in a file of environment variables", complete="files"),
        Flag("--interactive", "-i", "Make STDIN available to the contained process", kind="bool", into="stdin_open"),
        LATEST,
        Flag("--no-session", kind="bool", help="Do not create a database session for the exec process", noop=True),   # there is none
        Flag("--preserve-fd", kind="uints", help="Pass a list of additional file descriptors to the container"),
        Flag("--preserve-fds", kind="uint", help="Pass N additional file descriptors to the container"),
        Flag("--privileged", kind="bool",
             help="Give the process extended Linux capabilities inside the container.  The default is false"),
        Flag("--tty", "-t", "Allocate a pseudo-TTY. The default is false", kind="bool", into="terminal"),
        Flag("--user", "-u", "Sets the username or UID used and optionally the groupname or GID for the specified command"),
        Flag("--wait", kind="uint", help="Total seconds to wait for container to start"),
        Flag("--workdir", "-w", "Working directory inside the container", into="working_dir"),
    ),
    run, interspersed=False, examples=("{} -it ctrID ls", "{} -it -w /tmp myCtr pwd", "{} --user root ctrID ls"),
    complete="running files",
)
