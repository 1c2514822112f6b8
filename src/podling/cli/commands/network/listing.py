"""``podling network ls`` and ``prune``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.commands.network.fields import network_field
from podling.cli.filters import parse_filters
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.engine import networks
from podling.engine.shapes import Time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Network

_COLUMNS = Columns(name="ls", shown=("ID", "Name", "Driver"), headings={"ID": "NETWORK ID"})
_SHORT_ID = 12
_FILTER_FORM = "filter input must be in the form of filter=value: {} is invalid"


def ls(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """List networks."""
    found = networks.list_networks(context.engine, parse_filters(said.get("filter", ()), _FILTER_FORM))
    template = said.get("format")
    if output.is_json(template):
        output.print_json(context.out, [networks.shape(network) for network in found], indent=2)
    elif said.get("quiet") and not template:
        for network in found:
            context.out.line(network.name)
    else:
        rows = [_row(network, shorten=not said.get("no_trunc", False)) for network in found]
        output.report(context.out, rows, _COLUMNS, template=template, headings=not said.get("noheading", False))


def _row(network: Network, *, shorten: bool) -> Row:
    shape = networks.shape(network)
    fields = {
        "ID": network.id[:_SHORT_ID] if shorten else network.id, "Name": network.name, "Driver": network.driver,
        "NetworkInterface": network.interface, "Created": lambda: Time(networks.created(network)),
        "Subnets": lambda: network_field("subnets", shape.get("subnets", [])),
        "Routes": lambda: network_field("routes", shape.get("routes", [])),
        "IPv6Enabled": network.ipv6,
        "Internal": network.internal, "DNSEnabled": network.dns_enabled, "NetworkDNSServers": list(network.dns_servers),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(network.labels.items())), "Options": dict(network.options),
        "IPAMOptions": dict(network.ipam),
    }
    return Row(fields, json=shape, go_type="networks.ListPrintReports")


def prune(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Remove the networks that no container is on, after a question."""
    filters = parse_filters(said.get("filter", ()), _FILTER_FORM)
    if not said.get("force"):
        context.out.line("WARNING! This will remove all networks not used by at least one container.")
        context.out.flush()
        from podling.cli import terminal

        if not terminal.confirm(context.out, "Are you sure you want to continue? [y/N] "):
            return
    from podling.engine.networks import definitions

    for name in definitions.prune(context.engine, filters):
        context.out.line(name)


LS = Command(
    "ls", "[options]", "List networks", "List networks",
    (
        Flag("--filter", "-f", "Provide filter values (e.g. 'name=podman')", kind="array",
             choices=tuple(f"{name}=" for name in networks.FILTERS)),
        Flag("--format", help="Pretty-print networks to JSON or using a Go template"),
        Flag("--no-trunc", kind="bool", help="Do not truncate the network ID"),
        Flag("--noheading", "-n", "Do not print headers", kind="bool"),
        Flag("--quiet", "-q", "display only names", kind="bool"),
    ),
    ls, args=(0, 0, ""), aliases=("list",), examples=("podling network list",),
)
PRUNE = Command(
    "prune", "[options]", "Prune unused networks", "Prune unused networks",
    (
        Flag("--filter", kind="array", help="Provide filter values (e.g. 'label=<key>=<value>')",
             choices=("label=", "label!=", "until=")),
        Flag("--force", "-f", "do not prompt for confirmation", kind="bool"),
    ),
    prune, args=(0, 0, ""), examples=("{}",),
)
