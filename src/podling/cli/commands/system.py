"""``podling version`` and ``podling info``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.flags import Command, Flag
from podling.cli.output import Row
from podling.engine import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_FORMAT = Flag("--format", "-f", "Change the output format to JSON or a Go template")


def version(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Print the version."""
    found = system.version()
    template = said.get("format")
    if output.is_json(template):
        output.print_json(context.out, {"Client": found}, indent=2)
    elif template:
        row = Row({**found, "Client": found, "Server": None}, json={"Client": found}, go_type="*define.Version")
        output.print_template(context.out, template, [row], "version")
    else:
        context.out.write(output.tabulate([
            ["Client:", "Podling Engine"], ["Version:", found["Version"]], ["API Version:", found["APIVersion"]],
            ["Python Version:", found["PythonVersion"]], ["OS/Arch:", found["OsArch"]]]))


def info(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Print all about the host, the store and this podling."""
    found = system.info(context.engine)
    template = said.get("format")
    if output.is_json(template):
        output.print_json(context.out, found, indent=2)
    elif template:
        output.print_template(context.out, template, [_named(found)], "info")
    else:
        from podling.cli import yaml

        context.out.line(yaml.dump(found))


def _named(shape: Any) -> Any:
    """The shape with the names that Go's fields have: ``host.ociRuntime`` is ``.Host.OCIRuntime`` in a template."""
    if not isinstance(shape, dict):
        return shape
    fields = {_FIELDS.get(name) or name[:1].upper() + name[1:]: _named(value) for name, value in shape.items()}
    return Row(fields, json=shape, go_type="system.infoReport")


_FIELDS = {
    "ociRuntime": "OCIRuntime", "cgroupVersion": "CgroupsVersion", "cgroupManager": "CgroupManager", "idMappings": "IDMappings",
    "cgroupControllers": "CgroupControllers", "cpus": "CPUs", "cpuUtilization": "CPUUtilization", "gidmap": "GIDMap",
    "uidmap": "UIDMap", "dns": "DNS", "os": "OS", "slirp4netns": "Slirp4NetNS",
    "apparmorEnabled": "AppArmorEnabled", "capabilities": "DefaultCapabilities", "seccompEnabled": "SECCOMPEnabled",
    "seccompProfilePath": "SECCOMPProfilePath", "selinuxEnabled": "SELinuxEnabled",
}

VERSION = Command(
    "version", "[options]", "Display the podling version information", "", (_FORMAT,), version, args=(0, 0, ""),
)
INFO = Command(
    "info", "[options]", "Display podling system information",
    "Display information pertaining to the host, current storage stats, and build of podling.\n\n"
    "  Useful for the user and when reporting issues.\n",
    (Flag("--debug", "-D", "", kind="bool", hidden=True, noop=True), _FORMAT), info, args=(0, 0, ""), examples=("{}",),
)
