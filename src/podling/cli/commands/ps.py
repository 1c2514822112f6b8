"""``podling ps`` and ``podling container list``."""

from __future__ import annotations

import os
import time

from podling import log
from podling.cli import output
from podling.cli.commands.selecting import FILTER
from podling.cli.fields import LazyFields, nothing
from podling.cli.filters import parse_filters
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.engine import listing
from podling.engine.options import ListOptions
from podling.engine.shapes import Struct, Time
from podling.values import units
from podling.values.ports import format_ports, split_exposed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.listing import Listed

_COLUMNS = Columns(name="ps", shown=("ID", "Image", "Command", "CreatedHuman", "Status", "Ports", "Names"), headings={
    "Cgroup": "CGROUPNS", "CreatedHuman": "CREATED", "ID": "CONTAINER ID", "IPC": "IPC", "MNT": "MNT", "NET": "NET",
    "PIDNS": "PIDNS", "Pod": "POD ID", "PodName": "PODNAME", "UTS": "UTS", "USERNS": "USERNS",
})
# Kind of namespace -> its name in templates and in JSON.
_NAMESPACE_NAMES = {"mnt": ("MNT", "Mnt"), "cgroup": ("Cgroup", "Cgroup"), "ipc": ("IPC", "Ipc"), "net": ("NET", "Net"),
                    "pid": ("PIDNS", "Pidns"), "uts": ("UTS", "Uts"), "user": ("User", "User")}
_NEVER = -62135596800                            # Go's zero time in seconds
_LONGEST_COMMAND = 17
_SHORT_ID = 12


def run(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """List containers, again and again with ``--watch``."""
    watch = said.get("watch", 0)
    options = ListOptions(filters=parse_filters(said.get("filter", ())),
                          **context.options(said, "all", "latest", "last", "size", "sync", "namespaces"))
    listing.check(options, quiet=said.get("quiet", False) and not said.get("format"), watch=bool(watch))
    while True:
        _show(context, said, options)
        if not watch:
            return
        context.out.flush()
        time.sleep(watch)
        if os.isatty(1):
            context.out.write("\x1b[H\x1b[2J")   # as `clear` does


def _show(context: Context, said: dict[str, Any], options: ListOptions) -> None:
    found = listing.list_containers(context.engine, options, sort=said.get("sort", "created"))
    template = said.get("format")
    now = time.time_ns()
    shorten = not said.get("no_trunc", False)
    if output.is_json(template):
        output.print_json(context.out, [_json(listed, now) for listed in found], indent=2)
    elif said.get("quiet") and not template:
        for listed in found:
            context.out.line(listed.container.id[:_SHORT_ID] if shorten else listed.container.id)
    else:
        rows = [_row(listed, now, shorten) for listed in found]
        output.report(context.out, rows, _columns(said), template=template, headings=not said.get("noheading", False))


def _columns(said: dict[str, Any]) -> Columns:
    if said.get("namespaces"):
        return _COLUMNS.replace(shown=("ID", "Names", "Pid", "Cgroup", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS"))
    shown = _COLUMNS.shown
    if said.get("pod"):
        shown = (*shown, "Pod", "PodName")
    if said.get("size"):
        shown = (*shown, "Size")
    return _COLUMNS.replace(shown=shown)


class _Shown:
    """One container as a row of the list."""

    __slots__ = ("container", "listed", "now", "shorten", "state")

    def __init__(self, listed: Listed, now: int, shorten: bool) -> None:
        self.listed = listed
        self.container = listed.container
        self.state = listed.state
        self.now = now
        self.shorten = shorten

    def id(self, full: str) -> str:
        """An id as it is shown."""
        return full[:_SHORT_ID] if self.shorten else full

    def age(self) -> str:
        """How long ago the container was made."""
        return units.human_duration(self.now - self.container.created) + " ago"

    def created(self) -> Time:
        """When the container was made."""
        return Time(self.container.created)

    def label(self) -> Callable[[str], str]:
        """The value of one label, "" where the container has none of this name: ``{{.Label "version"}}``."""
        return lambda name: self.container.labels.get(name, "")

    def namespace(self, kind: str) -> str:
        """The inode of a namespace, "" where it was not asked for."""
        return (self.listed.namespaces or {}).get(kind, "")


_FIELDS: dict[str, Callable[[_Shown], Any]] = {
    "AutoRemove": lambda row: row.container.auto_remove,
    "CIDFile": lambda _: "",
    "Command": lambda row: _command(row.container.command, row.shorten),
    "Created": _Shown.created,
    "CreatedAt": _Shown.created,
    "CreatedHuman": _Shown.age,
    "ExitCode": lambda row: row.state.exit_code,
    "Exited": lambda row: row.state.status == "exited",
    "ExitedAt": lambda row: _seconds(row.state.finished),
    "ExposedPorts": lambda row: _exposed(row.container.exposed_ports) or nothing("ExposedPorts"),
    "ID": lambda row: row.id(row.container.id),
    "Image": lambda row: row.container.image_name,
    "ImageID": lambda row: row.id(row.container.image_id),
    "IsInfra": lambda row: row.container.is_infra,
    "Label": _Shown.label,
    "Labels": lambda row: row.container.labels,
    "Mounts": lambda row: list(row.container.mounts),
    "Names": lambda row: row.container.name,
    "Namespaces": lambda row: _namespaces_row(row.listed),
    "Networks": lambda row: ",".join(row.container.networks),
    "Pid": lambda row: row.state.pid,
    "Pod": lambda row: row.id(row.container.pod_id),
    "PodName": lambda _: "",
    "Ports": lambda row: format_ports(row.container.ports, row.container.exposed_ports),
    "Restarts": lambda row: row.state.restart_count,
    "RunningFor": _Shown.age,
    "Size": lambda row: _size(row.listed),
    "StartedAt": lambda row: _seconds(row.state.started),
    "State": lambda row: row.state.status,
    "Status": lambda row: status(row.listed, row.now),
    "MNT": lambda row: row.namespace("mnt"),
    "Cgroup": lambda row: row.namespace("cgroup"),
    "CGROUPNS": lambda row: row.namespace("cgroup"),
    "IPC": lambda row: row.namespace("ipc"),
    "NET": lambda row: row.namespace("net"),
    "PIDNS": lambda row: row.namespace("pid"),
    "USERNS": lambda row: row.namespace("user"),
    "User": lambda row: row.namespace("user"),
    "UTS": lambda row: row.namespace("uts"),
}


def _row(listed: Listed, now: int, shorten: bool) -> Row:
    """A container's fields as templates see them, each computed when it is used."""
    return Row(LazyFields(_FIELDS, _Shown(listed, now, shorten)), json=_Later(listed, now), go_type="containers.psReporter")


class _Later:
    """The JSON of a row, made where a template asks for it."""

    def __init__(self, listed: Listed, now: int) -> None:
        self.listed = listed
        self.now = now

    def to_json(self) -> dict[str, Any]:
        """What ``{{json .}}`` prints."""
        found = _json(self.listed, self.now)
        head = {"AutoRemove": found.pop("AutoRemove"), "Command": found.pop("Command"),
                "Created": units.format_rfc3339(self.listed.container.created, local=True), "CreatedAt": ""}
        return {**head, **{name: value for name, value in found.items() if name not in head}, "Status": ""}


def _command(command: tuple[str, ...], shorten: bool) -> str:
    text = " ".join(command)
    return text[:_LONGEST_COMMAND] + "..." if shorten and len(text) > _LONGEST_COMMAND else text


def status(listed: Listed, now: int) -> str:
    """``Up 5 minutes``, ``Exited (0) 2 hours ago``, ``Created``."""
    state = listed.state
    if state.status == "running":
        return f"Up {units.human_duration(now - state.started)}"
    if state.status == "exited":
        return f"Exited ({state.exit_code}) {units.human_duration(now - state.finished)} ago"
    return state.status.capitalize()


def _size(listed: Listed) -> str:
    if listed.size is None:
        log.error("Size format requires --size option")
        return ""
    own, virtual = (units.format_size(size, separator="") for size in (listed.size.own, listed.size.with_image))
    return f"{own} (virtual {virtual})"


def _namespaces(listed: Listed) -> dict[str, str]:
    """The inodes of the namespaces by their names in JSON."""
    found = listed.namespaces or {}
    return {name: found.get(kind, "") for kind, (_, name) in _NAMESPACE_NAMES.items()}


def _namespaces_row(listed: Listed) -> Row:
    found = listed.namespaces or {}
    fields = {name: found.get(kind, "") for kind, (name, _) in _NAMESPACE_NAMES.items()}
    return Row(fields, json=Struct(_namespaces(listed)), go_type="types.ListContainerNamespaces")


def _seconds(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000_000 if nanoseconds else _NEVER


def _exposed(ports: tuple[str, ...]) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = {}
    for port, protocol in map(split_exposed, ports):
        found.setdefault(str(port), []).append(protocol)
    return found or None


def _json(listed: Listed, now: int) -> dict[str, Any]:
    """One element of ``ps --format json``."""
    container, state, size = listed.container, listed.state, listed.size
    ports = [{"host_ip": port.host_ip, "container_port": port.container_port, "host_port": port.host_port, "range": port.length,
              "protocol": port.protocol} for port in container.ports]
    return {
        "AutoRemove": container.auto_remove, "Command": list(container.command) or None,
        "CreatedAt": units.human_duration(now - container.created) + " ago", "CIDFile": "", "Exited": state.status == "exited",
        "ExitedAt": _seconds(state.finished), "ExitCode": state.exit_code, "ExposedPorts": _exposed(container.exposed_ports),
        "Id": container.id, "Image": container.image_name, "ImageID": container.image_id, "IsInfra": container.is_infra,
        "Labels": dict(sorted(container.labels.items())) or None, "Mounts": list(container.mounts), "Names": [container.name],
        "Namespaces": {field: inode for field, inode in _namespaces(listed).items() if inode},
        "Networks": list(container.networks), "Pid": state.pid, "Pod": container.pod_id, "PodName": "", "Ports": ports or None,
        "Restarts": state.restart_count,
        "Size": {"rootFsSize": size.with_image, "rwSize": size.own} if size else None,
        "StartedAt": _seconds(state.started), "State": state.status, "Status": status(listed, now),
        "Created": _seconds(container.created),
    }


FLAGS = (
    Flag("--all", "-a", "Show all the containers, default is only running containers", kind="bool"),
    Flag("--external", kind="bool", help="Show containers in storage not controlled by Podman", noop=True,
         aliases=("--storage",)),
    FILTER,
    Flag("--format", help="Pretty-print containers to JSON or using a Go template"),
    Flag("--last", "-n", "Print the n last created containers (all states)", kind="int", default_text="-1"),
    Flag("--latest", "-l", 'Act on the latest container podling is aware of', kind="bool"),
    Flag("--no-trunc", kind="bool", help="Display the extended information"),
    Flag("--noheading", kind="bool", help="Do not print headers"),
    Flag("--ns", kind="bool", into="namespaces", help="Display namespace information", aliases=("--namespace",)),
    Flag("--pod", "-p", "Print the ID and name of the pod the containers are associated with", kind="bool"),
    Flag("--quiet", "-q", "Print the numeric IDs of the containers only", kind="bool"),
    Flag("--size", "-s", "Display the total file sizes", kind="bool"),
    Flag("--sort", kind="choice", choices=listing.SORT_KEYS,
         help="Sort output by: command, created, id, image, names, runningfor, size, status"),
    Flag("--sync", kind="bool", help="Sync container state with OCI runtime"),
    Flag("--watch", "-w", "Watch the ps output on an interval in seconds", kind="uint"),
)

PS = Command(
    "ps", "[options]", "List containers", "Prints out information about the containers", FLAGS, run, args=(0, 0, ""),
    examples=("{} -a", '{} -a --format "{{.ID}}  {{.Image}}  {{.Labels}}  {{.Mounts}}"', "{} --size --sort names"),
)
LIST = PS.replace(name="list", aliases=("ls",))
