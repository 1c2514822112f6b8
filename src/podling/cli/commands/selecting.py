"""The flags that name containers, which many commands share, and the containers that they mean."""

from __future__ import annotations

from podling.cli.filters import parse_filters
from podling.cli.flags import Flag
from podling.engine.options import SelectOptions
from podling.engine.select import select
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container, ContainerState

LATEST = Flag("--latest", "-l", "Act on the latest container podling is aware of", kind="bool")
CIDFILE = Flag("--cidfile", help="Read the container ID from the file", kind="array", complete="files")
FILTER = Flag("--filter", "-f", "Filter output based on conditions given", kind="array", choices=(
    "ancestor=", "before=", "exited=", "id=", "label=", "name=", "network=", "since=", "status=", "until=", "volume="))
IGNORE = Flag("--ignore", "-i", "Ignore errors when a specified container is missing", kind="bool")
DETACH_KEYS_HELP = (
    "Select the key sequence for detaching a container. Format is a single character `[a-Z]` or a comma separated sequence of "
    "`ctrl-<value>`, where `<value>` is one of: `a-z`, `@`, `^`, `[`, `\\`, `]`, `^` or `_`")


def all_flag(text: str) -> Flag:
    """``--all`` with this help."""
    return Flag("--all", "-a", text, kind="bool")


def selection(said: dict[str, Any], args: list[str], *,
              no_names: str = "you must provide at least one name or id") -> SelectOptions:
    """What arguments and flags mean; InvalidArgument, in Podman's words, where they say nothing or contradict each other."""
    everything, latest = said.get("all", False), said.get("latest", False)
    cidfiles, filters = said.get("cidfile", ()), said.get("filter", ())
    if cidfiles and (everything or latest or filters):
        raise InvalidArgument("--all, --latest, --filter and --cidfile cannot be used together")
    if everything and latest:
        raise InvalidArgument("--all and --latest cannot be used together")
    if everything and args:
        raise InvalidArgument("no arguments are needed with --all")
    if latest and args:
        raise InvalidArgument("--latest and containers cannot be used together")
    if filters and args:
        raise InvalidArgument("--filter and containers cannot be used together")
    if not (args or everything or latest or cidfiles or filters):
        raise InvalidArgument(no_names)
    return SelectOptions(names=tuple(args), all=everything, latest=latest, cidfiles=cidfiles, filters=parse_filters(filters),
                         ignore=said.get("ignore", False))


def selected(context: Context, said: dict[str, Any], args: list[str], *,
             keep: Callable[[ContainerState], bool] | None = None) -> list[Container]:
    """The containers that arguments and flags mean; as in Podman a name that is wrong keeps all of them from their turn."""
    return select(context.engine, selection(said, args), keep=keep)


def one(context: Context, said: dict[str, Any], args: list[str], *,
        no_name: str = "you must provide the name or id of a container") -> tuple[Container, list[str]]:
    """(the one container that a command is about, the arguments after it): the first argument, or ``--latest``."""
    if said.get("latest"):
        return context.engine.containers.latest(), args
    if not args:
        raise InvalidArgument(no_name)
    return context.engine.containers.find(args[0]), args[1:]


def printed_names(containers: list[Container], args: list[str]) -> dict[str, str]:
    """Container id -> what a command prints of it: the word that named it, else its id."""
    printed = {container.id: container.id for container in containers}
    names = {container.name for container in containers}
    for container in containers:
        for word in args:
            if word == container.name or (word not in names and container.id.startswith(word)):
                printed[container.id] = word
                break
    return printed
