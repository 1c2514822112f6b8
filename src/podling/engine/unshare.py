"""``unshare``: a command in the user's namespaces, where it is root and sees what containers have mounted."""

from __future__ import annotations

import os

from podling.engine.engine import Engine
from podling.errors import CommandNotFound, InvalidArgument, Unsupported
from podling.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def unshare(engine: Engine, command: tuple[str, ...], *, rootless_netns: bool = False) -> NoReturn:
    """Become the command, or the user's shell where there is none. InvalidArgument for root, who has no such namespace."""
    if not engine.rootless:
        raise InvalidArgument("please use unshare with rootless")
    if rootless_netns:
        raise Unsupported("podling unshare --rootless-netns is not available yet")
    argv = command or (os.environ.get("SHELL") or "/bin/sh",)
    if process.find_program(argv[0]) is None:
        where = "no such file or directory" if "/" in argv[0] else "executable file not found in $PATH"
        raise CommandNotFound(f'exec: "{argv[0]}": {where}', argv=argv, status=127)
    engine.close()
    os.environ.update({"CONTAINERS_GRAPHROOT": engine.paths.graphroot, "CONTAINERS_RUNROOT": engine.paths.runroot})
    process.replace_process(argv)
