"""``podling system check``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.cli.progress import registry_options
from podling.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def check(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Find damaged layers, and mend them."""
    from podling.engine.check import CheckOptions
    from podling.engine.check import check as look

    rest = dict(said)
    options = CheckOptions(registry=registry_options(rest), **context.options(rest, "quick", "repair", "force"))
    left = 0
    for damage in look(context.engine, options):
        context.out.line(f"Damaged layer {damage.diff_id}: {damage.reason}")
        for name in damage.images:
            context.out.line(f"  in image {name}")
        if damage.outcome == "mended":
            context.out.line("  mended from its registry")
        elif damage.outcome == "removed":
            context.out.line("  its images were removed")
        else:
            left += 1
    if left:
        hint = "podling system check --repair" if not options.repair else "pull the images again, or remove them with --force"
        raise Corrupt("damage detected in local storage", hint=hint)


CHECK = Command(
    "check", "[options]", "Check storage consistency",
    "podling system check\n\n        Check storage for consistency and remove anything that looks damaged\n",
    (
        Flag("--cert-dir", help="`Pathname` of a directory containing TLS certificates and keys", complete="files"),
        Flag("--force", "-f", "Remove inconsistent images and containers", kind="bool"),
        Flag("--max", "-m", "Maximum allowed age of unreferenced layers", default_text="24h0m0s", metavar="duration", noop=True),
        Flag("--quick", "-q", "Skip time-consuming checks. The default is to include time-consuming checks", kind="bool"),
        Flag("--repair", "-r", "Remove inconsistencies", kind="bool"),
        Flag("--tls-verify", help="Require HTTPS and verify certificates when contacting registries", kind="bool", default_text="true"),
    ),
    check, args=(0, 0, ""), examples=("{}",),
)
