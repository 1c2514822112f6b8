"""``podling volume create``, ``ls``, ``rm``, ``prune``; ``inspect`` and ``exists`` are with the other kinds'."""

from __future__ import annotations

from podling.cli import output
from podling.cli.filters import parse_filters
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.cli.several import each
from podling.engine import volumes
from podling.engine.options import CreateVolumeOptions
from podling.errors import InUse, InvalidArgument, NoSuchVolume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_FILTER_FORM = "filter input must be in the form of filter=value: {} is invalid"
_COLUMNS = Columns(name="ls", shown=("Driver", "Name"), headings={"Name": "VOLUME NAME"})


def create(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make a volume and print its name."""
    options = CreateVolumeOptions(name=args[0] if args else "", labels=dict(said.get("label", ())),
                                  options=dict(said.get("opt", ())), **context.options(said, "driver", "ignore"))
    context.out.line(volumes.create(context.engine, options).name)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def ls(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """List volumes."""
    template = said.get("format")
    if said.get("quiet") and template:
        raise InvalidArgument("quiet and format flags cannot be used together")
    found = volumes.list_volumes(context.engine, parse_filters(said.get("filter", ()), _FILTER_FORM))
    if said.get("quiet"):
        for volume in found:
            context.out.line(volume.name)
        return
    shapes = [volumes.inspect_volume(context.engine, volume) for volume in found]
    if output.is_json(template):
        output.print_json(context.out, shapes, indent=2)
        return
    if not shapes:
        return                                   # not even headings, as Podman
    rows = [Row({"UID": 0, "GID": 0, "Anonymous": False, "NeedsCopyUp": False, "NeedsChown": False, **shape}, json=shape,
                go_type="*entities.VolumeListReport") for shape in shapes]
    output.report(context.out, rows, _COLUMNS, template=template, headings=not said.get("noheading", False))


def rm(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Remove volumes; exit code 1 where one does not exist, 2 where one is in use."""
    if bool(args) == said.get("all", False):
        raise InvalidArgument("choose either one or more volumes or all")
    force = said.get("force", False)
    timeout = said.get("time")
    if timeout is not None and not force:
        raise InvalidArgument("--force option must be specified to use the --time option")
    engine = context.engine
    names = [volume.name for volume in volumes.all_volumes(engine)] if said.get("all") else args

    def remove(name: str) -> None:
        try:
            full = volumes.get(engine, name).name      # a part of it was enough
            volumes.remove(engine, full, force=force, timeout=None if timeout is None or timeout < 0 else timeout)
        except NoSuchVolume:
            if not force:
                raise
            return
        context.out.line(full)

    return each(context, names, remove, exit_codes={NoSuchVolume: 1, InUse: 2})


def prune(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Remove the volumes that no container uses, after a question."""
    engine = context.engine
    filters = parse_filters(said.get("filter", ()), _FILTER_FORM)
    for name in filters:
        if name not in ("label", "label!", "until", "since", "after", "all", "anonymous"):
            raise InvalidArgument(f'"{name}" is an invalid volume filter')
    filters.pop("all", None)
    if not said.get("force"):
        context.out.line("WARNING! This will remove all volumes not used by at least one container. The following volumes "
                         "will be removed:")
        found = volumes.list_volumes(engine, {**filters, "dangling": ("true",)})
        if not found:
            context.out.line("No dangling volumes found")
            return
        for volume in found:
            context.out.line(volume.name)
        context.out.flush()
        from podling.cli import terminal

        if not terminal.confirm(context.out, "Are you sure you want to continue? [y/N] "):
            return
    for name, _ in volumes.prune(engine, filters):
        context.out.line(name)


CREATE = Command(
    "create", "[options] [NAME]", "Create a new volume",
    'If using the default driver, "local", the volume will be created on the host in the volumes directory under container '
    "storage.",
    (
        Flag("--driver", "-d", "Specify volume driver name", default_text="local"),
        Flag("--ignore", kind="bool", help="Don't fail if volume already exists"),
        Flag("--label", "-l", "Set metadata for a volume", kind="array", parse=_pair, default_text="[]"),
        Flag("--opt", "-o", "Set driver specific options", kind="array", parse=_pair, default_text="[]"),
    ),
    create, args=(0, 1, ""), examples=("{} myvol", "{}", "{} --label foo=bar myvol"),
)
LS = Command(
    "ls", "[options]", "List volumes",
    "\npodling volume ls\n\nList all available volumes. The output of the volumes can be filtered\n"
    "and the output format can be changed to JSON or a user specified Go template.",
    (
        Flag("--filter", "-f", "Filter volume output", kind="array", choices=tuple(f"{name}=" for name in volumes.FILTERS)),
        Flag("--format", help="Format volume output using Go template",
             default_text=r"{{range .}}{{.Driver}}\t{{.Name}}\n{{end -}}"),
        Flag("--noheading", "-n", "Do not print headers", kind="bool"),
        Flag("--quiet", "-q", "Print volume output in quiet mode", kind="bool"),
    ),
    ls, args=(0, 0, ""), aliases=("list",),
)
RM = Command(
    "rm", "[options] VOLUME [VOLUME...]", "Remove one or more volumes",
    "Remove one or more existing volumes.\n\n  By default only volumes that are not being used by any containers will be "
    "removed. To remove the volumes anyways, use the --force flag.",
    (
        Flag("--all", "-a", "Remove all volumes", kind="bool"),
        Flag("--force", "-f", "Remove a volume by force, even if it is being used by a container", kind="bool"),
        Flag("--time", "-t", "Seconds to wait for running containers to stop before killing the container", kind="int",
             default_text="10"),
    ),
    rm, aliases=("remove",), examples=("{} myvol1 myvol2", "{} --all", "{} --force myvol"), complete="volumes",
)
PRUNE = Command(
    "prune", "[options]", "Remove all unused volumes",
    "Volumes that are not currently owned by a container will be removed.\n\n"
    "  The command prompts for confirmation which can be overridden with the --force flag.\n  Note all data will be destroyed.",
    (
        Flag("--filter", kind="array", help="Provide filter values (e.g. 'label=<key>=<value>')",
             choices=("label=", "label!=", "until=", "since=", "after=", "anonymous=")),
        Flag("--force", "-f", "Do not prompt for confirmation", kind="bool"),
    ),
    prune, args=(0, 0, ""),
)
