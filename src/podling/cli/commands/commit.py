"""``podling commit`` and ``podling export``."""

from __future__ import annotations

import os

from podling.cli.commands.selecting import one
from podling.cli.flags import Command, Flag
from podling.cli.progress import reporter
from podling.errors import InvalidArgument, NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def commit(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make an image of a container; its id."""
    from podling.engine import commit as committing  # hashlib and the packer

    options = committing.CommitOptions(
        changes=said.get("change", ()), progress=reporter(context, quiet=said.get("quiet", False)),
        **context.options(said, "author", "format", "message", "include_volumes", "iidfile", "pause", "squash"))
    if "config" in said:
        options = options.replace(config=committing.read_config(said["config"]))
    committing.check(options)
    container = context.engine.containers.find(args[0])
    image = committing.commit(context.engine, container, args[1] if len(args) > 1 else "", options)
    context.out.line(image.id)


def export(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Write a container's file system as a tar."""
    path = said.get("output", "")
    if not args:
        raise InvalidArgument("container name or id must be specified")
    if ":" in path:
        raise InvalidArgument(f"invalid filename (should not contain ':') \"{path}\"")
    if not path and os.isatty(1):
        raise InvalidArgument("refusing to export to terminal. Use -o flag or redirect")
    from podling.engine import commit as committing

    try:
        container, _ = one(context, {}, args)
    except NoSuchContainer:
        raise NoSuchContainer(f'no container with name or ID "{args[0]}" found: no such container') from None
    context.out.flush()
    committing.export(context.engine, container, path)


COMMIT = Command(
    "commit", "[options] CONTAINER [IMAGE]", "Create new image based on the changed container",
    "Create an image from a container's changes. Optionally tag the image created, set the author with the --author flag, set "
    "the commit message with the --message flag, and make changes to the instructions with the --change flag.",
    (
        Flag("--author", "-a", "Set the author for the image committed"),
        Flag("--change", "-c", "Apply the following possible instructions to the created image (default []): CMD | ENTRYPOINT | "
             "ENV | EXPOSE | LABEL | ONBUILD | STOPSIGNAL | USER | VOLUME | WORKDIR", kind="array"),
        Flag("--config", help="`file` containing a container configuration to merge into the image", complete="files"),
        Flag("--format", "-f", "`Format` of the image manifest and metadata", default_text="oci", choices=("oci", "docker")),
        Flag("--iidfile", help="`file` to write the image ID to", complete="files"),
        Flag("--include-volumes", help="Include container volumes as image volumes", kind="bool"),
        Flag("--message", "-m", "Set commit message for imported image"),
        Flag("--pause", "-p", "Pause container during commit", kind="bool", default_text="true"),
        Flag("--quiet", "-q", "Suppress output", kind="bool"),
        Flag("--squash", "-s", "squash newly built layers into a single new layer", kind="bool"),
    ),
    commit, args=(1, 2, ""), complete="containers none",
    examples=('{} -q --message "committing container to image" reverent_golick image-committed',
              '{} -q --author "firstName lastName" reverent_golick image-committed',
              "{} -q --pause=false containerID image-committed", "{} containerID"),
)
EXPORT = Command(
    "export", "[options] CONTAINER", "Export container's filesystem contents as a tar archive",
    "Exports container's filesystem contents as a tar archive and saves it on the local machine.",
    (Flag("--output", "-o", "Write to a specified file (default: stdout, which must be redirected)", complete="files"),),
    export, args=(1, 1, ""), complete="containers", examples=("{} ctrID > myCtr.tar", '{} --output="myCtr.tar" ctrID'),
)
