"""``podling cp``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def cp(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Copy files between a container and the host."""
    from podling.engine.copying import CopyOptions, copy  # the packer

    context.out.flush()
    copy(context.engine, args[0], args[1], CopyOptions(**context.options(said, "archive", "overwrite")))


CP = Command(
    "cp", "[options] [CONTAINER:]SRC_PATH [CONTAINER:]DEST_PATH", "Copy files/folders between a container and the local filesystem",
    "Copy the contents of SRC_PATH to the DEST_PATH.\n\n  You can copy from the container's file system to the local machine or the "
    'reverse, from the local filesystem to the container. If "-" is specified for either the SRC_PATH or DEST_PATH, you can also '
    "stream a tar archive from STDIN or to STDOUT. The CONTAINER can be a running or stopped container. The SRC_PATH or DEST_PATH "
    "can be a file or a directory.\n",
    (
        Flag("--archive", "-a", "Chown copied files to the primary uid/gid of the destination container.", kind="bool",
             default_text="true"),
        Flag("--overwrite", help="Allow to overwrite directories with non-directories and vice versa", kind="bool"),
        Flag("--extract", kind="bool", hidden=True, noop=True), Flag("--pause", kind="bool", hidden=True, noop=True),
    ),
    cp, args=(2, 2, ""), complete="files", examples=("{} [options] [CONTAINER:]SRC_PATH [CONTAINER:]DEST_PATH",),
)
