"""``podling exec``."""

from __future__ import annotations

import os

from podling import log
from podling.cli.commands.selecting import LATEST, one
from podling.cli.flags import Command, Flag
from podling.engine.exec import execute, execute_detached
from podling.engine.options import ExecOptions
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Run a command in a container; its exit code, or the session's id with ``--detach``."""
    container, command = one(context, said, args)
    if not command:
        raise InvalidArgument("must provide a non-empty command to start an exec session: invalid argument")
    options = ExecOptions(command=tuple(command), env=tuple(said.get("env", ())), env_files=tuple(said.get("env_file", ())),
                          **context.options(said, "detach", "detach_keys", "stdin_open", "terminal", "privileged", "user",
                                            "working_dir", "preserve_fds"))
    if options.detach:
        context.out.line(execute_detached(context.engine, container, options))
        return 0
    if options.terminal and options.stdin_open and not os.isatty(0):
        log.warning("The input device is not a TTY. The --tty and --interactive flags might not work properly")
    return execute(context.engine, container, options)


EXEC = Command(
    "exec", "[options] CONTAINER COMMAND [ARG...]", "Run a process in a running container",
    "Execute the specified command inside a running container.",
    (Flag("--detach", "-d", "Run the exec session in detached mode (backgrounded)", kind="bool"),
     Flag("--detach-keys", help="Select the key sequence for detaching a container. Format is a single character [a-Z] or "
          "ctrl-<value> where <value> is one of: a-z, @, ^, [, , or _", default_text='"ctrl-p,ctrl-q"'),
     Flag("--env", "-e", "Set environment variables", kind="array"),
     Flag("--env-file", help="Read in a file of environment variables", kind="slice", complete="files"),
     Flag("--interactive", "-i", "Make STDIN available to the contained process", kind="bool", into="stdin_open"), LATEST,
     Flag("--no-session", help="Run the command without a session of its own", kind="bool", noop=True),
     Flag("--preserve-fd", kind="uints", refused="use --preserve-fds"),
     Flag("--preserve-fds", help="Pass N additional file descriptors to the container", kind="uint"),
     Flag("--privileged", kind="bool",
          help="Give the process extended Linux capabilities inside the container.  The default is false"),
     Flag("--tty", "-t", "Allocate a pseudo-TTY. The default is false", kind="bool", into="terminal"),
     Flag("--user", "-u",
          "Sets the username or UID used and optionally the groupname or GID for the specified command"),
     Flag("--workdir", "-w", "Working directory inside the container", into="working_dir")),
    run, interspersed=False, complete="containers",
    examples=("{} -it ctrID ls", "{} -it -w /tmp myCtr pwd", "{} --user root ctrID ls"),
)
