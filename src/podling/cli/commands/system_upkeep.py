"""``podling system migrate`` and ``podling system reset``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.engine import reset as upkeep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_REMOVED = ("containers", "pods", "images", "networks", "build cache", "machines", "volumes")


def migrate(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Stop the user's containers and have the namespaces made anew."""
    for container_id in upkeep.migrate(context.engine, said.get("new_runtime", "")):
        context.out.line(f"stopped {container_id}")


def reset(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Remove everything, after a question."""
    engine = context.engine
    if not said.get("force"):
        from podling.cli import terminal

        context.out.line("WARNING! This will remove:")
        for what in _REMOVED:
            context.out.line(f"        - all {what}")
        context.out.line(f'        - the graphRoot directory: "{engine.paths.graphroot}"')
        context.out.line(f'        - the runRoot directory: "{engine.paths.runroot}"')
        if not terminal.confirm(context.out, "Are you sure you want to continue? [y/N] "):
            return
    upkeep.reset(engine)


MIGRATE = Command(
    "migrate", "[options]", "Migrate containers",
    "\n\tpodling system migrate\n\n\tMigrate existing containers to a new version of Podling.\n",
    (Flag("--new-runtime", help="Specify a new runtime for all containers"),), migrate, args=(0, 0, ""),
)
RESET = Command(
    "reset", "[options]", "Reset podling storage",
    'Reset podling storage back to default state"\n\n  All containers will be stopped and removed, and all images, volumes, '
    "networks and container content will be removed.\n",
    (Flag("--force", "-f", "Do not prompt for confirmation", kind="bool"),), reset, args=(0, 0, ""),
)
