"""``podling container cleanup``: what conmon executes when a container has ended."""

from __future__ import annotations

from podling import log
from podling.cli.flags import Command, Flag
from podling.engine.options import RemoveImageOptions, RemoveOptions, SelectOptions
from podling.engine.select import select
from podling.engine.start import clean_up
from podling.errors import InvalidArgument, NoSuchContainer, PodlingError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container


def cleanup(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Take down what is left of ended containers."""
    if said.get("exec"):
        return _cleanup_session(context, said, args)
    try:
        containers = select(context.engine, SelectOptions(names=tuple(args), all=said.get("all", False),
                                                          latest=said.get("latest", False)))
    except NoSuchContainer as error:
        log.debug(explain(error))                # removed meanwhile: nothing to do
        return 0
    failed = 0
    for container in containers:
        try:
            clean_up(context.engine, container.id)
            _remove(context, container, said)
            context.out.line(container.id)
        except PodlingError as error:
            log.error(f"cleaning up container {container.id}: {explain(error)}")
            failed = 125
    return failed


def _remove(context: Context, container: Container, said: dict[str, Any]) -> None:
    """The container, and its image, where that was asked for and nobody else did it."""
    if said.get("rm") or said.get("rmi"):
        from podling.engine.remove import remove

        try:
            remove(context.engine, container, RemoveOptions(volumes=True))
        except NoSuchContainer as error:
            log.debug(explain(error))            # --rm did it
    if said.get("rmi"):
        from podling.engine import images

        images.remove(context.engine, container.image_id, RemoveImageOptions(ignore=True))


def _cleanup_session(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """An exec session that ended: its directory goes."""
    if said.get("all") or said.get("latest") or said.get("rm") or said.get("rmi") or len(args) != 1:
        raise InvalidArgument("exec option conflicts with --all, --latest, --rm and --rmi, and needs one container")
    from podling.engine.exec import clean_up_session

    clean_up_session(context.engine, context.engine.containers.find(args[0]), said["exec"])
    return 0


CLEANUP = Command(
    "cleanup", "[options] CONTAINER [CONTAINER...]", "Clean up network and mountpoints of one or more containers",
    "Cleans up mount points and network stacks on one or more containers from the host. The container name or ID can be used. "
    "This command is used internally when running containers, but can also be used if container cleanup has failed when a "
    "container exits.",
    (Flag("--all", "-a", help="Cleans up all containers", kind="bool"),
     Flag("--exec", help="Clean up the given exec session instead of the container"),
     Flag("--rm", help="After cleanup, remove the container entirely", kind="bool"),
     Flag("--rmi", help="After cleanup, remove the image entirely", kind="bool"),
     Flag("--latest", "-l", help="Act on the latest container podling is aware of", kind="bool")),
    cleanup, examples=("{} --latest", "{} ctrID1 ctrID2 ctrID3", "{} --all"),
)
