"""``unshare``: a command in the user's namespaces, where it is root and sees what containers have mounted."""

from __future__ import annotations

import os

from podling.engine.engine import Engine
from podling.errors import CommandNotFound, InvalidArgument
from podling.linux import process


def unshare(engine: Engine, command: tuple[str, ...], *, rootless_netns: bool = False) -> int:
    """Become the command, or the user's shell where there is none. InvalidArgument for root, who has no such namespace.

    ``rootless_netns``: in the namespace of the user's bridge networks; then this process waits for the command's end, because the
    namespace may have to end with it, and gives its exit code.
    """
    if not engine.rootless:
        raise InvalidArgument("please use unshare with rootless")
    argv = command or (os.environ.get("SHELL") or "/bin/sh",)
    if process.find_program(argv[0]) is None:
        where = "no such file or directory" if "/" in argv[0] else "executable file not found in $PATH"
        raise CommandNotFound(f'exec: "{argv[0]}": {where}', argv=argv, status=127)
    engine.close()
    os.environ.update({"CONTAINERS_GRAPHROOT": engine.paths.graphroot, "CONTAINERS_RUNROOT": engine.paths.runroot})
    if not rootless_netns:
        process.replace_process(argv)
    from podling.network import hostside

    child = os.fork()
    if child == 0:
        hostside.enter(conf=engine.conf, runroot=engine.paths.runroot)
        process.replace_process(argv)
    process.ignore_keys()
    try:
        status = process.wait(child)
    finally:
        hostside.leave(child, runroot=engine.paths.runroot)
    return status if status >= 0 else 128 - status
