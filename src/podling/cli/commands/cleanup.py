"""``podling container cleanup``: what conmon executes when a container has ended."""

from __future__ import annotations

from podling import log
from podling.cli.flags import Command, Flag
from podling.engine.options import SelectOptions
from podling.engine.select import select
from podling.engine.start import clean_up
from podling.errors import NoSuchContainer, PodlingError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def cleanup(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Take down what is left of ended containers."""
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
            context.out.line(container.id)
        except PodlingError as error:
            log.error(f"cleaning up container {container.id}: {explain(error)}")
            failed = 125
    return failed


CLEANUP = Command(
    "cleanup", "[options] CONTAINER [CONTAINER...]", "Clean up network and mountpoints of one or more containers",
    "Cleans up mount points and network stacks on one or more containers from the host. The container name or ID can be used. "
    "This command is used internally when running containers, but can also be used if container cleanup has failed when a "
    "container exits.",
    (Flag("--all", "-a", help="Cleans up all containers", kind="bool"),
     Flag("--latest", "-l", help="Act on the latest container podling is aware of", kind="bool")),
    cleanup, examples=("{} --latest", "{} ctrID1 ctrID2 ctrID3", "{} --all"),
)
