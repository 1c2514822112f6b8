"""``podling diff``, ``container diff`` and ``image diff``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.flags import Command, Flag
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_WORDS = {"C": "changed", "A": "added", "D": "deleted"}


def _of_kind(kind: str) -> Any:
    def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
        _diff(context, said, args, kind)

    return run


def _diff(context: Context, said: dict[str, Any], args: list[str], kind: str) -> None:
    from podling.engine.diff import diff

    if said.get("latest"):
        if args:
            raise InvalidArgument("--latest and containers cannot be used together")
        args, kind = [context.engine.containers.latest().id], "container"
    if not args:
        latest = "" if kind == "image" else ', or the "--latest" flag'
        raise InvalidArgument(f'"{context.program} {context.path}" requires a name, id{latest}')
    form = said.get("format")
    if form and form != "json":
        raise InvalidArgument("only supported value for '--format' is 'json'")
    changes = diff(context.engine, args[0], args[1] if len(args) > 1 else "", kind=kind)
    if form:
        found = {_WORDS[word]: [change.path for change in changes if change.kind == word] for word in _WORDS}
        output.print_json(context.out, {word: paths for word, paths in found.items() if paths}, indent=5)
        return
    for change in changes:
        context.out.line(f"{change.kind} {change.path}")


_FORMAT = Flag("--format", help="Change the output format (json)")
_LATEST = Flag("--latest", "-l", "Act on the latest container podling is aware of", kind="bool")

DIFF = Command(
    "diff", "[options] {CONTAINER|IMAGE} [{CONTAINER|IMAGE}]", "Display the changes to the object's file system",
    "Displays changes on a container or image's filesystem.  The container or image will be compared to its parent layer or the "
    "second argument when given.", (_FORMAT, _LATEST), _of_kind("all"), args=(0, 2, ""), complete="containers images",
    examples=("{} imageID", "{} ctrID", "{} --format json redis:alpine"),
)
CONTAINER_DIFF = Command(
    "diff", "[options] CONTAINER [CONTAINER]", "Inspect changes to the container's file systems",
    "Displays changes to the container filesystem's'.  The container will be compared to its parent layer or the second argument "
    "when given.", (_FORMAT, _LATEST), _of_kind("container"), args=(0, 2, ""), complete="containers",
    examples=("{} myCtr", "{} -l --format json myCtr"),
)
IMAGE_DIFF = Command(
    "diff", "[options] IMAGE [IMAGE]", "Inspect changes to the image's file systems",
    "Displays changes to the image's filesystem.  The image will be compared to its parent layer or the second argument when given.",
    (_FORMAT,), _of_kind("image"), args=(1, 2, ""), complete="images", examples=("{} myImage", "{} --format json redis:alpine"),
)
