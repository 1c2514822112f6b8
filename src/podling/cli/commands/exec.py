"""``podling exec``."""

from __future__ import annotations

import os

from podling.cli.commands.selecting import LATEST, one
from podling.cli.flags import Command, Flag
from podling.engine.exec import execute, execute_detached
from podling.engine.options import ExecOptions
from podling.errors import InvalidArgument, InvalidDetachKeys, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_OPTIONS = ("detach", "detach_keys", "env", "env_files", "stdin_open", "terminal", "privileged", "user", "working_dir",
            "preserve_fds")
_NO_SESSION = 255                                # Podman's exit code where no session could be attached to


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Run a command in a running container; its exit code, or the session's id at once with ``--detach``."""
    check_descriptors(said.get("preserve_fds", 0))
    container, command = one(context, said, args, no_name="exec requires the name or ID of a container or the --latest flag")
    options = ExecOptions(command=tuple(command), **context.options(said, *_OPTIONS))
    try:
        if options.detach:
            context.out.line(execute_detached(context.engine, container, options))
            return 0
        return execute(context.engine, container, options)
    except (InvalidDetachKeys, WrongState) as error:
        if not options.detach:
            error.exit_code = _NO_SESSION
        raise


def check_descriptors(count: int) -> None:
    """Whether so many descriptors after standard error are open, for ``--preserve-fds``; InvalidArgument otherwise."""
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise InvalidArgument(f"file descriptor {fd} is not available - the preserve-fds option requires that file "
                                  "descriptors must be passed") from None


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
        Flag("--no-session", kind="bool", refused="yet"),
        Flag("--preserve-fd", kind="uints", refused="yet"),
        Flag("--preserve-fds", kind="uint", help="Pass N additional file descriptors to the container"),
        Flag("--privileged", kind="bool",
             help="Give the process extended Linux capabilities inside the container.  The default is false"),
        Flag("--tty", "-t", "Allocate a pseudo-TTY. The default is false", kind="bool", into="terminal"),
        Flag("--user", "-u", "Sets the username or UID used and optionally the groupname or GID for the specified command"),
        Flag("--wait", kind="int", refused="yet"),
        Flag("--workdir", "-w", "Working directory inside the container", into="working_dir"),
    ),
    run, interspersed=False, examples=("{} -it ctrID ls", "{} -it -w /tmp myCtr pwd", "{} --user root ctrID ls"),
    complete="running files",
)
