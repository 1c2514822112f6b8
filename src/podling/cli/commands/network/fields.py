"""Networks as templates see them: with Go's names for what their JSON calls otherwise."""

from __future__ import annotations

from podling.cli.fields import nothing
from podling.cli.output import Row
from podling.engine.shapes import Struct, Time
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The names that templates use for what networks' JSON calls otherwise, and what is there in every network, subnet and route.
_NAMES = {
    "name": "Name", "id": "ID", "driver": "Driver", "network_interface": "NetworkInterface", "created": "Created",
    "subnets": "Subnets", "routes": "Routes", "ipv6_enabled": "IPv6Enabled", "internal": "Internal",
    "dns_enabled": "DNSEnabled", "network_dns_servers": "NetworkDNSServers", "labels": "Labels", "options": "Options",
    "ipam_options": "IPAMOptions", "containers": "Containers", "subnet": "Subnet", "gateway": "Gateway", "lease_range": "LeaseRange",
    "start_ip": "StartIP", "end_ip": "EndIP", "destination": "Destination", "metric": "Metric", "interfaces": "Interfaces",
    "ipnet": "IPNet", "mac_address": "MacAddress",
}
_NETWORK: dict[str, Any] = {"Subnets": None, "Routes": None, "NetworkDNSServers": None, "Labels": {}, "Options": {}, "Containers": {}}
_SUBNET: dict[str, Any] = {"Gateway": "", "LeaseRange": None}
_ROUTE: dict[str, Any] = {"Metric": None}


def network_row(shape: dict[str, Any]) -> Row:
    """A network with the names that templates use, which are not those of its JSON."""
    fields = _filled(_NETWORK)
    fields.update({_NAMES[name]: network_field(name, value) for name, value in shape.items() if name in _NAMES})
    return Row(fields, json=shape, go_type="entities.NetworkInspectReport")


def network_field(name: str, value: Any) -> Any:
    """A field of a network's JSON as templates see it."""
    if name == "created":
        return Time(units.parse_rfc3339(value))
    if name in ("containers", "interfaces"):
        return {key: _network_part(item, {}) for key, item in value.items()}
    if name in ("subnets", "routes"):
        return [_network_part(item, _ROUTE if name == "routes" else _SUBNET) for item in value]
    return _network_part(value, {}) if name == "lease_range" else value


def _network_part(shape: dict[str, Any], always: dict[str, Any]) -> Row:
    """A subnet, a route, a container, an interface of a network."""
    seen = {name: network_field(name, value) for name, value in shape.items()}
    return Row({**_filled(always), **{_NAMES[name]: value for name, value in seen.items()}}, json=Struct(seen))


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    """The table with what Go has where a value is None."""
    return {name: nothing(name) if value is None else value for name, value in table.items()}
