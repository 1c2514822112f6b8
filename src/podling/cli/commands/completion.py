"""``podling completion``."""

from __future__ import annotations

import os

from podling.cli.flags import Command, Flag
from podling.cli.shells import SCRIPTS, script
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def run(context: Context, options: dict[str, Any], args: list[str]) -> None:
    """Print the script for one shell, or write it to a file."""
    shell = args[0]
    if shell not in SCRIPTS:
        raise InvalidArgument(f'invalid argument "{shell}" for "{context.program} completion"')
    text = script(shell, descriptions=not options.get("no_desc", False))
    target = options.get("file")
    if target is None:
        context.out.write(text)
        return
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


COMPLETION = Command(
    "completion", "[options] {bash|zsh|fish}", "Generate shell autocompletions",
    "Generate shell autocompletions.\n  Valid arguments are bash, zsh, and fish.",
    (
        Flag("--file", "-f", "Output the completion to file rather than stdout.", complete="files"),
        Flag("--no-desc", kind="bool", help="Don't include descriptions in the completion output."),
    ),
    run, args=(1, 1, ""), examples=("{} bash", "{} zsh -f _podling", "{} fish --no-desc"), hidden=True, complete="shells",
)
