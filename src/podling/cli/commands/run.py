"""``podling run`` and ``podling create``."""

from __future__ import annotations

import os

from podling import log
from podling.cli.commands.container_flags import COMMON, RUN_ONLY
from podling.cli.commands.container_options import create_options
from podling.cli.flags import Command
from podling.engine.create import create as create_container
from podling.engine.options import RunOptions
from podling.errors import ExitStatus, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_RUN_OPTIONS = ("detach", "detach_keys", "sig_proxy", "preserve_fds")
_ARGS = (1, None, "")
_NOT_STARTED = 126                               # Podman's exit code where what was made could not be started or attached to


def create(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make a container and print its id."""
    container = create_container(context.engine, create_options(context, said, args))
    context.out.line(container.id)


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Make a container and run it; its exit code, or its id at once with ``--detach``."""
    from podling.engine.attach import run as run_container

    if said.get("preserve_fds") or said.get("preserve_fd"):
        from podling.engine.descriptors import take_descriptors

        said["preserve_fds"] = take_descriptors(said.get("preserve_fds", 0), said.pop("preserve_fd", ()))
    options = RunOptions(**{name: said.pop(name) for name in _RUN_OPTIONS if name in said})
    if said.get("terminal") and said.get("stdin_open") and not options.detach and not os.isatty(0):
        log.warning("The input device is not a TTY. The --tty and --interactive flags might not work properly")
    container = create_container(context.engine, create_options(context, said, args))
    try:
        status = run_container(context.engine, container, options)
    except PodlingError as error:
        if error.exit_code == PodlingError.exit_code and not isinstance(error, ExitStatus):
            error.exit_code = _NOT_STARTED
        raise
    if options.detach:
        context.out.line(container.id)
    return status


RUN = Command(
    "run", "[options] IMAGE [COMMAND [ARG...]]", "Run a command in a new container",
    "Runs a command in a new container from the given image", (*COMMON, *RUN_ONLY), run, interspersed=False, args=_ARGS,
    examples=("{} imageID ls -alF /etc", "{} --network=host imageID dnf -y install java",
              "{} --volume /var/hostdir:/var/ctrdir -i -t fedora /bin/bash"),
    complete="images files",
)
CREATE = Command(
    "create", "[options] IMAGE [COMMAND [ARG...]]", "Create but do not start a container",
    "Creates a new container from the given image or storage and prepares it for running the specified command.\n\n"
    "  The container ID is then printed to stdout. You can then start it at any time with the podling start <container_id> "
    "command. The container will be created with the initial state 'created'.", COMMON, create, interspersed=False, args=_ARGS,
    examples=("{} alpine ls", "{} --annotation HELLO=WORLD alpine ls", "{} -t -i --name myctr alpine ls"),
    complete="images files",
)
