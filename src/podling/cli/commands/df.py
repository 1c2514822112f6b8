"""``podling system df`` and ``system prune``."""

from __future__ import annotations

import time

from podling.cli import output
from podling.cli.filters import parse_filters
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.engine import disk_usage, image_list
from podling.errors import InvalidArgument
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_SHORT_ID = 12
_COLUMNS = Columns(name="df", shown=("Type", "Total", "Active", "Size", "Reclaimable"))
_IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
_CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")


def _size(size: int) -> str:
    return units.format_size(size, digits=4, separator="")


def df(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Show what is on the disk."""
    template = said.get("format")
    if said.get("verbose"):
        if template:
            raise InvalidArgument("cannot combine --format and --verbose flags")
        _verbose(context)
        return
    rows = []
    for usage in disk_usage.summary(context.engine):
        percent = round(usage.reclaimable / usage.size * 100) if usage.size else 0
        fields = {"Type": usage.kind, "Total": usage.total, "Active": usage.active, "RawSize": usage.size,
                  "RawReclaimable": usage.reclaimable, "TotalCount": usage.total, "Size": _size(usage.size),
                  "Reclaimable": f"{_size(usage.reclaimable)} ({percent}%)"}
        rows.append(Row(fields, json=fields, go_type="system.dfSummary"))
    if output.is_json(template):
        output.print_json(context.out, [row.json for row in rows], indent=2)
        return
    output.report(context.out, rows, _COLUMNS, template=template)


def _age(created: int) -> str:
    return units.human_duration(time.time_ns() - created)


def _verbose(context: Context) -> None:
    engine, out = context.engine, context.out
    lines: list[Any] = [_IMAGES]
    for one in disk_usage.of_images(engine):
        for name in one.image.names or one.image.digest_names or ("",):
            repository, tag = image_list.split_name(name)
            lines.append((repository, tag, one.image.id[:_SHORT_ID], _age(one.image.created), _size(one.size), _size(one.shared),
                          _size(one.unique), str(one.containers)))
    out.write("Images space usage:\n\n" + output.tabulate(lines))
    lines = [_CONTAINERS]
    for use in disk_usage.of_containers(engine):
        container = use.container
        lines.append((container.id[:_SHORT_ID], container.image_id[:_SHORT_ID], " ".join(container.command), str(use.volumes),
                      _size(use.size), _age(container.created), use.status, container.name))
    out.write("\nContainers space usage:\n\n" + output.tabulate(lines))
    lines = [("VOLUME NAME", "LINKS", "SIZE")]
    lines += [(use.volume.name, str(use.links), _size(use.size)) for use in disk_usage.of_volumes(engine)]
    out.write("\nLocal Volumes space usage:\n\n" + output.tabulate(lines))


def prune(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Remove what nothing uses, after a question."""
    from podling.engine import prune as pruning

    if said.get("external"):
        _prune_external(context, said)
        return
    filters = parse_filters(said.get("filter", ()))
    pruning.check(filters)
    every, with_volumes = said.get("all", False), said.get("volumes", False)
    if not said.get("force"):
        from podling.cli import terminal

        context.out.line("WARNING! This command removes:")
        what = ["all stopped containers", "all networks not used by at least one container"]
        what += ["all volumes not used by at least one container"] if with_volumes else []
        what += ["all images without at least one container associated with them", "all build cache"] if every else [
            "all dangling images", "all dangling build cache"]
        for text in what:
            context.out.line(f"\t- {text}")
        context.out.line()
        context.out.flush()
        if not terminal.confirm(context.out, "Are you sure you want to continue? [y/N] "):
            return
    done = pruning.prune(context.engine, filters, every=every, with_volumes=with_volumes)
    for title, names in (("Containers", done.containers), ("Networks", done.networks), ("Images", done.images), ("Volumes", done.volumes)):
        if names:
            context.out.line(f"Deleted {title}")
            for name in names:
                context.out.line(name)
    context.out.line(f"Total reclaimed space: {_size(done.reclaimed)}")


def _prune_external(context: Context, said: dict[str, Any]) -> None:
    """What no row of the store names goes: what killed commands left behind."""
    from podling.engine import garbage

    if any(said.get(name) for name in ("all", "volumes", "filter")):
        raise InvalidArgument("--external cannot be combined with other options")
    garbage.collect(context.engine)


DF = Command(
    "df", "[options]", "Show podling disk usage", "Show podling disk usage",
    (Flag("--format", help="Pretty-print images using a Go template"),
     Flag("--verbose", "-v", "Show detailed information on disk usage", kind="bool")), df, args=(0, 0, ""),
)
PRUNE = Command(
    "prune", "[options]", "Remove unused data", "podling system prune\n\n        Remove unused data\n",
    (Flag("--all", "-a", "Remove all unused data", kind="bool"), Flag("--build", kind="bool", refused="builds"),
     Flag("--external", kind="bool",
          help="Remove container data in storage not controlled by podling"),
     Flag("--filter", help="Provide filter values (e.g. 'label=<key>=<value>')", kind="array"),
     Flag("--force", "-f", "Do not prompt for confirmation.  The default is false", kind="bool"),
     Flag("--volumes", help="Prune volumes", kind="bool")), prune, args=(0, 0, ""), examples=("{}",),
)
