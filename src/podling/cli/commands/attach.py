"""``podling attach``."""

from __future__ import annotations

from podling.cli.commands.selecting import DETACH_KEYS_HELP, LATEST
from podling.cli.flags import Command, Flag
from podling.engine.attach import attach
from podling.engine.options import AttachOptions
from podling.errors import InvalidArgument, InvalidDetachKeys, PodlingError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Attach to a running container; its exit code, or 0 after the detach keys."""
    latest = said.get("latest", False)
    if len(args) > 1 or (args and latest):
        raise InvalidArgument(f"`{context.program} attach` accepts at most one argument")
    if not args and not latest:
        raise InvalidArgument(f'"{context.program} attach" requires a name, id, or the "--latest" flag')
    containers = context.engine.containers
    container = containers.latest() if latest else containers.find(args[0])
    try:
        return attach(context.engine, container, AttachOptions(**context.options(said, "detach_keys", "no_stdin", "sig_proxy")))
    except (InvalidDetachKeys, WrongState) as error:
        raise PodlingError(f"attaching to container {container.id}") from error


ATTACH = Command(
    "attach", "[options] CONTAINER", "Attach to a running container",
    "The podling attach command allows you to attach to a running container using the container's ID or name, either to view "
    "its ongoing output or to control it interactively.",
    (
        Flag("--detach-keys", help=DETACH_KEYS_HELP, default_text="ctrl-p,ctrl-q"),
        LATEST,
        Flag("--no-stdin", kind="bool", help="Do not attach STDIN. The default is false"),
        Flag("--sig-proxy", kind="bool", help="Proxy received signals to the process", default_text="true"),
    ),
    run, examples=("{} ctrID", "{} 1234", "{} --no-stdin foobar"), complete="running none",
)
