"""``podling inspect`` and its spellings for one kind of object."""

from __future__ import annotations

from podling.cli import output
from podling.cli.fields import nothing
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.engine import objects
from podling.engine.shapes import Struct
from podling.errors import InvalidArgument, NotFound, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_JSON_INDENT = 5
_COLUMNS = Columns(name="inspect", shown=())
_KINDS = ("all", "pod", *objects.KINDS)
# Docker's names for fields of mounts.
_ALIASES = ((".Src", ".Source"), (".Dst", ".Destination"))
# Go's names for fields that JSON calls otherwise.
_GO_NAMES = {"Id": "ID", "lockNumber": "LockNumber", "sdNotifyMode": "SdNotifyMode", "Image": "ImageID", "Domainname": "DomainName",
             "HealthcheckMaxLogCount": "HealthMaxLogCount", "HealthcheckMaxLogSize": "HealthMaxLogSize"}
# What JSON leaves out where it is empty: a key that tells the struct -> the fields that a template finds all the same, as what
# :func:`nothing` makes of their names where they are None.
_OMITTED: dict[str, dict[str, Any]] = {
    "lockNumber": {"OCIConfigPath": "", "SizeRw": None, "SizeRootFs": 0},
    "OciVersion": {"ConmonPid": 0, "CgroupPath": "", "StoppedByUser": False, "Checkpointed": False, "Restored": False,
                   "CheckpointLog": "", "CheckpointPath": "", "RestoreLog": "", "Health": None, "Healthcheck": None},
    "Hostname": {"Healthcheck": None, "StartupHealthCheck": None, "Timezone": "", "CreateCommand": None, "ExposedPorts": {},
                 "Secrets": None, "SystemdMode": False, "ChrootDirs": None, "SdNotifySocket": ""},
    "Binds": {"Init": False, "IDMappings": None, "IntelRdtClosID": ""},
    "SandboxKey": {"Networks": {}, "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None},
    "Propagation": {"Name": "", "SubPath": ""},
    "RootFS": {"HealthCheck": None},
    "Mountpoint": {"UID": 0, "GID": 0, "Anonymous": False, "NeedsCopyUp": False, "NeedsChown": False, "Status": None, "Timeout": 0,
                   "StorageID": ""},
}
_IMAGE_CONFIG: dict[str, Any] = {
    "User": "", "ExposedPorts": None, "Env": None, "Entrypoint": None, "Cmd": None, "Volumes": None, "WorkingDir": "", "Labels": None,
    "StopSignal": "", "ArgsEscaped": False,
}


def inspect(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Show objects of any kind, or of the one that ``--type`` names."""
    kind = said.get("type", "all")
    if kind not in _KINDS:
        raise InvalidArgument(f'invalid type "{kind}": must be "image", "container", "pod", "network", "volume", or "all"')
    if kind == "pod":
        raise InvalidArgument("pods are not available in podling yet")
    return _inspect(context, said, args, kind)


def _of_kind(kind: str) -> Any:
    def run(context: Context, said: dict[str, Any], args: list[str]) -> int:
        return _inspect(context, said, args, kind)

    return run


def _inspect(context: Context, said: dict[str, Any], args: list[str], kind: str) -> int:
    engine, size = context.engine, said.get("size", False)
    if said.get("latest"):
        if args:
            raise InvalidArgument("--latest and arguments cannot be used together")
        if kind not in ("all", "container"):
            raise InvalidArgument("latest is only supported for containers")
        args = [engine.containers.latest().id]
    if kind == "volume" and said.get("all"):
        if args:
            raise InvalidArgument("choose either one or more volumes or all")
        args = [name for (name,) in engine.database.rows("SELECT name FROM volumes ORDER BY name")]
    elif not args and kind == "volume":
        raise InvalidArgument("provide one or more volume names or use --all")
    elif not args:
        raise InvalidArgument("no names or ids specified")
    if size and kind not in ("all", "container"):
        raise InvalidArgument("size can only be shown of containers")
    found, missing = [], []
    for name in args:
        try:
            found.append(objects.inspect(engine, name, kind, size=size))
        except NotFound as error:
            missing.append(error)
    _show(context, found, said.get("format"))
    for failure in missing[:-1]:
        context.note(f"Error: {explain(failure)}")
    if missing:
        raise missing[-1]
    return 0


def _show(context: Context, found: list[tuple[str, Any]], template: str | None) -> None:
    if template is None or output.is_json(template):
        output.print_json(context.out, [shape for _, shape in found], indent=_JSON_INDENT)
        return
    rows = [_network(shape) if kind == "network" else _row(shape) for kind, shape in found]
    output.report(context.out, rows, _COLUMNS, template=_with_aliases(template), headings=False)


def _network(shape: dict[str, Any]) -> Row:
    from podling.cli.commands.network.fields import network_row  # for networks alone

    return network_row(shape)


def _row(shape: dict[str, Any]) -> Row:
    """An object as templates see it: with the names of Go's fields beside those of its JSON, and Go's empty values for null."""
    omitted = next((fields for key, fields in _OMITTED.items() if key in shape), {})
    fields = {name: _seen(value, name) for name, value in {**omitted, **shape}.items()}
    if "RootFS" in shape:
        config = {name: _seen(value, name) for name, value in {**_IMAGE_CONFIG, **shape["Config"]}.items()}
        fields["Config"] = Row(config, json=shape["Config"], go_type="*v1.ImageConfig")
    fields.update({go_name: fields[name] for name, go_name in _GO_NAMES.items() if name in fields})
    return Row(fields, json=shape, go_type="interface {}")


def _seen(value: Any, name: str = "") -> Any:
    if value is None:
        return nothing(name)
    if isinstance(value, Struct):
        return _row(value)
    if isinstance(value, dict):
        return {key: _seen(item) for key, item in value.items()}
    return [_seen(item) for item in value] if isinstance(value, list) else value


def _with_aliases(template: str) -> str:
    """The template with fields' other names replaced by those of the JSON."""
    for alias, name in _ALIASES:
        parts = template.split(alias)
        for index in range(1, len(parts)):
            following = parts[index][:1]
            parts[index] = (alias if following.isalnum() or following == "_" else name) + parts[index]
        template = "".join(parts)
    return template


_FORMAT = Flag("--format", "-f", "Format the output to a Go template or json", default_text="json")
_LATEST = Flag("--latest", "-l", "Act on the latest container podling is aware of", kind="bool")
_SIZE = Flag("--size", "-s", "Display total file size", kind="bool")

INSPECT = Command(
    "inspect", "[options] {CONTAINER|IMAGE|POD|NETWORK|VOLUME} [...]", "Display the configuration of object denoted by ID",
    "Displays the low-level information on an object identified by name or ID.\n  For more inspection options, see:\n\n"
    "      podling container inspect\n      podling image inspect\n      podling network inspect\n      podling volume inspect",
    (_FORMAT, _LATEST, _SIZE, Flag("--type", "-t", "Specify inspect-object type", default_text="all", choices=_KINDS)),
    inspect, complete="containers images volumes networks",
    examples=("{} fedora", "{} --type image fedora", "{} CtrID ImgID", '{} --format "imageId: {{.Id}} size: {{.Size}}" fedora'),
)
CONTAINER_INSPECT = Command(
    "inspect", "[options] CONTAINER [CONTAINER...]", "Display the configuration of a container",
    "Displays the low-level information on a container identified by name or ID.", (_FORMAT, _LATEST, _SIZE),
    _of_kind("container"),
    examples=("{} myCtr", "{} -l --format '{{.Id}} {{.Config.Labels}}'"), complete="containers",
)
IMAGE_INSPECT = Command(
    "inspect", "[options] IMAGE [IMAGE...]", "Display the configuration of an image",
    "Displays the low-level information of an image identified by name or ID.", (_FORMAT,), _of_kind("image"),
    complete="images", examples=("{} alpine", '{} --format "imageId: {{.Id}} size: {{.Size}}" alpine',
              '{} --format "image: {{.ImageName}} driver: {{.Driver}}" myctr'),
)
NETWORK_INSPECT = Command(
    "inspect", "[options] NETWORK [NETWORK...]", "Inspect network",
    "Displays the network configuration for one or more networks.",
    (Flag("--format", "-f", "Pretty-print network to JSON or using a Go template"),), _of_kind("network"),
    examples=("{} podman",), complete="networks",
)
VOLUME_INSPECT = Command(
    "inspect", "[options] VOLUME [VOLUME...]", "Display detailed information on one or more volumes",
    "Display detailed information on one or more volumes.\n\n  Use a Go template to change the format from JSON.",
    (Flag("--all", "-a", "Inspect all volumes", kind="bool"),
     Flag("--format", "-f", "Format volume output using Go template", default_text="json")), _of_kind("volume"),
    examples=("{} myvol", "{} --all", '{} --format "{{.Driver}} {{.Scope}}" myvol'), complete="volumes",
)
