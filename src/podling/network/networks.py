"""Networks as they are defined: JSON files in Podman's format, where Podman keeps them, so that both engines see the same.

The default network exists without a file; a file of its name replaces it.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import Corrupt, NoSuchNetwork, PodlingError
from podling.linux import files
from podling.model import Network, Route, Subnet
from podling.network.addresses import format_address, parse_subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.config.containers import ContainersConf

DIRECTORY = "/etc/containers/networks"
DEFAULT_ID = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"   # the same in every Podman
_LIMIT = 1 << 20


class Networks:
    """The defined networks."""

    def __init__(self, directory: str, conf: ContainersConf) -> None:
        """``directory``: where the definitions are, "" for Podman's place."""
        self.directory = directory or DIRECTORY
        self.conf = conf
        self._built_in = os.stat("/proc/self").st_ctime_ns   # until it has a file it is as old as the command

    @property
    def default_name(self) -> str:
        """The network that containers join when none is named."""
        return self.conf.default_network or "podman"

    def _files(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.directory) if name.endswith(".json")]
        except FileNotFoundError:
            return []

    def exists(self, name_or_id: str) -> bool:
        """Whether a network has this name or id."""
        try:
            self.get(name_or_id)
        except NoSuchNetwork:
            return False
        return True

    def get(self, name_or_id: str) -> Network:
        """The network of this name, or whose id begins so; NoSuchNetwork where there is none."""
        name = name_or_id or self.default_name
        if name == self.default_name or ("/" not in name and os.path.exists(f"{self.directory}/{name}.json")):
            return self._load(name)
        found = [network for network in self.list() if network.id.startswith(name)] if _is_hex(name) else []
        if len(found) > 1:
            raise PodlingError(f"more than one result for network ID {name}: network ID is ambiguous")
        if not found:
            raise NoSuchNetwork(f"unable to find network with name or ID {name}: network not found",
                                hint="see 'podling network ls'")
        return found[0]

    def _load(self, name: str) -> Network:
        path = f"{self.directory}/{name}.json"
        try:
            text = files.read_bytes(path, _LIMIT)
        except FileNotFoundError:
            return self._default()
        try:
            return from_json(jsontext.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Corrupt(f"network definition {path} is not valid: {error}", hint=f"correct or remove {path}") from None

    def _default(self) -> Network:
        subnet = parse_subnet(self.conf.default_subnet or "10.88.0.0/16")
        gateway = format_address(subnet.first + 1, subnet.version)
        from podling.values.units import format_rfc3339

        return Network(name=self.default_name, id=DEFAULT_ID, driver="bridge", interface="podman0",
                       created=format_rfc3339(self._built_in, local=True),
                       subnets=(Subnet(subnet=self.conf.default_subnet or "10.88.0.0/16", gateway=gateway),),
                       ipam={"driver": "host-local"})

    def list(self) -> list[Network]:
        """All networks, by name."""
        names = {name.removesuffix(".json") for name in self._files()} | {self.default_name}
        return [self._load(name) for name in sorted(names)]


def _is_hex(text: str) -> bool:
    return bool(text) and not text.strip("0123456789abcdef")


def from_json(value: dict[str, Any]) -> Network:
    """A network as its file defines it."""
    subnets = []
    for item in value.get("subnets") or []:
        lease = item.get("lease_range") or {}
        subnets.append(Subnet(subnet=item["subnet"], gateway=item.get("gateway", ""), lease_start=lease.get("start_ip", ""),
                              lease_end=lease.get("end_ip", "")))
    routes = [Route(destination=item["destination"], gateway=item["gateway"], metric=item.get("metric") or 0)
              for item in value.get("routes") or []]
    return Network(name=value["name"], id=value["id"], driver=value.get("driver", "bridge"),
                   interface=value.get("network_interface", ""), created=value.get("created", ""), subnets=tuple(subnets),
                   routes=tuple(routes), ipv6=bool(value.get("ipv6_enabled")), internal=bool(value.get("internal")),
                   dns_enabled=bool(value.get("dns_enabled")), dns_servers=tuple(value.get("network_dns_servers") or ()),
                   labels=dict(value.get("labels") or {}), options=dict(value.get("options") or {}),
                   ipam=dict(value.get("ipam_options") or {}))


def to_json(network: Network) -> dict[str, Any]:
    """A network in the form of its file, which netavark takes too."""
    value: dict[str, Any] = {"name": network.name, "id": network.id, "driver": network.driver,
                             "network_interface": network.interface, "created": network.created}
    value["subnets"] = [_subnet(subnet) for subnet in network.subnets]
    if network.routes:
        value["routes"] = [{"destination": route.destination, "gateway": route.gateway,
                            **({"metric": route.metric} if route.metric else {})} for route in network.routes]
    value |= {"ipv6_enabled": network.ipv6, "internal": network.internal, "dns_enabled": network.dns_enabled}
    for key, content in (("network_dns_servers", list(network.dns_servers)), ("labels", network.labels),
                         ("options", network.options), ("ipam_options", network.ipam)):
        if content:
            value[key] = content
    return value


def _subnet(subnet: Subnet) -> dict[str, Any]:
    value: dict[str, Any] = {"subnet": subnet.subnet}
    if subnet.gateway:
        value["gateway"] = subnet.gateway
    if subnet.lease_start or subnet.lease_end:
        value["lease_range"] = {key: text for key, text in (("start_ip", subnet.lease_start), ("end_ip", subnet.lease_end)) if text}
    return value
