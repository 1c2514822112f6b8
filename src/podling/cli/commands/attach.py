"""``podling attach``."""

from __future__ import annotations

from podling.cli.commands.selecting import DETACH_KEYS_HELP, LATEST, one
from podling.cli.flags import Command, Flag
from podling.engine.attach import attach
from podling.engine.options import AttachOptions
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Attach to a container; its exit code."""
    if len(args) > 1 or (args and said.get("latest")):
        raise InvalidArgument("attach requires the name or id of one running container or the latest flag")
    container, _ = one(context, said, args)
    return attach(context.engine, container, AttachOptions(**context.options(said, "detach_keys", "no_stdin", "sig_proxy")))


ATTACH = Command(
    "attach", "[options] CONTAINER", "Attach to a running container",
    "The podling attach command allows you to attach to a running container using the container's ID or name, either to view its "
    "ongoing output or to control it interactively.",
    (Flag("--detach-keys", help=DETACH_KEYS_HELP, default_text='"ctrl-p,ctrl-q"', metavar="[a-Z]"), LATEST,
     Flag("--no-stdin", help="Do not attach STDIN. The default is false", kind="bool"),
     Flag("--sig-proxy", help="Proxy received signals to the process", kind="bool", default_text="true")),
    run, complete="containers", examples=("{} ctrID", "{} 1234", "{} --no-stdin foobar"),
)
