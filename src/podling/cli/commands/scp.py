"""``podling image scp``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.cli.progress import reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def scp(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Copy an image to another user's store, or from there."""
    from podling.engine.image_scp import scp as copy

    for line in copy(context.engine, args[0], args[1] if len(args) > 1 else "", reporter(context, quiet=said.get("quiet", False))):
        context.out.line(line)


SCP = Command(
    "scp", "[options] IMAGE [HOST::]", "Securely copy images",
    "Copy an image between the stores of the users of this machine. HOST is USER@localhost; other machines are not reached yet.",
    (Flag("--quiet", "-q", "Suppress the output", kind="bool"),), scp, args=(1, 2, ""), complete="images",
    examples=("{} myimage:latest user@localhost::", "{} user@localhost::myimage:latest"),
)
