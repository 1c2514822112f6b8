"""``podling unshare``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.engine.unshare import unshare as become

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def unshare(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Run a command as root of the user's namespace."""
    return become(context.engine, tuple(args), rootless_netns=said.get("rootless_netns", False))


UNSHARE = Command(
    "unshare", "[options] [COMMAND [ARG...]]", "Run a command in a modified user namespace",
    "Runs a command in a modified user namespace.",
    (Flag("--rootless-netns", kind="bool",
          help="Join the rootless network namespace used for CNI and netavark networking"),),
    unshare, interspersed=False, examples=("{} id", "{} cat /proc/self/uid_map,", "{} podman-script.sh"),
)
