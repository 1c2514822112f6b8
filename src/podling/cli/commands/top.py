"""``podling top``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.commands.selecting import LATEST, one
from podling.cli.flags import Command
from podling.engine.top import DESCRIPTORS, ps_inside, top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show the processes of a container."""
    container, words = one(context, said, args)
    if words and any(word not in DESCRIPTORS for text in words for word in text.split(",")):
        context.out.write(ps_inside(context.engine, container, tuple(words)))
        return
    headings, rows = top(context.engine, container, tuple(words))
    context.out.write(output.tabulate([headings, *rows]))


TOP = Command(
    "top", "[options] CONTAINER [FORMAT-DESCRIPTORS|ARGS...]", "Display the running processes of a container",
    "Display the running processes of a container.\n\n"
    "  The top command extends the ps(1) compatible AIX descriptors with container-specific ones as shown below.  In the presence "
    "of ps(1) specific flags (e.g, -eo), podling will execute ps(1) in the container's pid namespace.\n\n\n"
    f"  Format Descriptors:\n    {','.join(sorted(name for name in DESCRIPTORS if name.isalpha()))}",
    (LATEST,), run, interspersed=False, complete="containers",
    examples=("{} ctrID", "{} --latest", "{} ctrID pid seccomp args %C", "{} ctrID -eo user,pid,comm"),
)
