"""``podling top``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.commands.selecting import LATEST, one
from podling.cli.flags import Command, Flag
from podling.engine.top import DESCRIPTORS, ps_inside, top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_NAMES = sorted(name for name in DESCRIPTORS if not name.startswith("%"))


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show the processes of a container by descriptors, or what ps(1) says with these arguments."""
    if said.get("list_descriptors"):
        for name in _NAMES:
            context.out.line(name)
        return
    container, rest = one(context, said, args, no_name="you must provide the name or id of a running container")
    words = tuple(rest)
    if all(part in DESCRIPTORS for word in words for part in word.split(",")):
        headings, rows = top(context.engine, container, words)
        context.out.write(output.tabulate([headings, *rows]))
    else:
        context.out.write(ps_inside(context.engine, container, words))


TOP = Command(
    "top", "[options] CONTAINER [FORMAT-DESCRIPTORS|ARGS...]", "Display the running processes of a container",
    "Display the running processes of a container.\n\n"
    "  The top command extends the ps(1) compatible AIX descriptors with container-specific ones as shown below.  In the "
    "presence of ps(1) specific flags (e.g, -eo), podling will execute ps(1) in the container's pid namespace.\n\n\n"
    f"  Format Descriptors:\n    {','.join(_NAMES)}",
    (LATEST, Flag("--list-descriptors", kind="bool", hidden=True)), run, interspersed=False,
    examples=("{} ctrID", "{} ctrID pid seccomp args %C", "{} ctrID -eo user,pid,comm"), complete="running none",
)
