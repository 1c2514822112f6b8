"""Networks as they are defined: JSON files in Podman's format, where Podman keeps them, so that both engines see the same.

The default network exists without a file; a file of its name replaces it.
"""

from __future__ import annotations

import fcntl
import os

from podling import jsontext, log
from podling.errors import AlreadyExists, Corrupt, InvalidArgument, NoSuchNetwork, PodlingError, explain
from podling.linux import files
from podling.model import Network, Route, Subnet
from podling.network.addresses import format_address, parse_address, parse_subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
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
            raise PodlingError(f"more than one result for network ID {name}", hint="say more of it: podling network ls --no-trunc")
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
            network = from_json(jsontext.loads(text))
            if network.name != name:
                raise ValueError(f"its name is {network.name!r}, its file's is not")
        except (ValueError, TypeError, KeyError, AttributeError, InvalidArgument) as error:
            raise Corrupt(f"network definition {path} is not valid: {error}", hint=f"correct or remove {path}") from None
        return network

    def _default(self) -> Network:
        subnet = parse_subnet(self.conf.default_subnet or "10.88.0.0/16")
        gateway = format_address(subnet.first + 1, subnet.version)
        from podling.values.units import format_rfc3339

        return Network(name=self.default_name, id=DEFAULT_ID, driver="bridge", interface="podman0",
                       created=format_rfc3339(self._built_in, local=True),
                       subnets=(Subnet(subnet=self.conf.default_subnet or "10.88.0.0/16", gateway=gateway),),
                       ipam={"driver": "host-local"})

    def list(self) -> list[Network]:
        """All networks, by name. Of a definition that cannot be read a warning tells; the others are none the worse for it."""
        found = []
        for name in sorted({name.removesuffix(".json") for name in self._files()} | {self.default_name}):
            try:
                found.append(self._load(name))
            except Corrupt as error:
                log.warning(explain(error))
        return found

    # --- writing ------------------------------------------------------------------------------------------------------

    def lock(self) -> DirectoryLock:
        """Held by whoever chooses what no other network may have; the directory is made where it is absent."""
        files.make_directories(self.directory)
        return DirectoryLock(self.directory)

    def add(self, network: Network) -> None:
        """Write a new definition; AlreadyExists where there is one of this name by now, from whatever program."""
        path = f"{self.directory}/{network.name}.json"
        aside = f"{self.directory}/.{network.name}.{files.unique_name()}.tmp"
        files.write_atomic(aside, _text(network), 0o644)
        try:
            os.link(aside, path)                 # unlike rename it never replaces
        except FileExistsError:
            raise AlreadyExists(f"network name {network.name} already used: network already exists") from None
        finally:
            os.unlink(aside)

    def replace(self, network: Network) -> None:
        """Write a changed definition, of the default network its first."""
        files.write_atomic(f"{self.directory}/{network.name}.json", _text(network), 0o644)

    def remove(self, network: Network) -> None:
        """Delete a definition; idempotent. PodlingError for the default network."""
        if network.name == self.default_name:
            raise PodlingError(f"default network {network.name} cannot be removed")
        try:
            os.unlink(f"{self.directory}/{network.name}.json")
        except FileNotFoundError:
            return


class DirectoryLock:
    """A lock on a directory itself, so that no file of ours lies beside the definitions; freed by the kernel."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._fd = -1

    def __enter__(self) -> DirectoryLock:
        self._fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)


def _text(network: Network) -> bytes:
    return (jsontext.pretty(to_json(network), " " * 5) + "\n").encode("utf-8", "surrogateescape")


def _is_hex(text: str) -> bool:
    return bool(text) and not text.strip("0123456789abcdef")


def from_json(value: dict[str, Any]) -> Network:
    """A network as its file defines it, which may also be what ``network inspect`` shows; KeyError, TypeError, InvalidArgument."""
    subnets = tuple(_read_subnet(item) for item in value.get("subnets") or [])
    routes = tuple(_read_route(item) for item in value.get("routes") or [])
    servers = tuple(_address(address) for address in value.get("network_dns_servers") or [])
    return Network(name=_word(value["name"]), id=_word(value["id"]), driver=_word(value.get("driver") or "bridge"),
                   interface=value.get("network_interface") or "", created=value.get("created") or "", subnets=subnets,
                   routes=routes, ipv6=bool(value.get("ipv6_enabled")), internal=bool(value.get("internal")),
                   dns_enabled=bool(value.get("dns_enabled")), dns_servers=servers,
                   **{field: {_word(key): str(text) for key, text in (value.get(name) or {}).items()}
                      for name, field in (("labels", "labels"), ("options", "options"), ("ipam_options", "ipam"))})


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    return value


def _address(text: Any) -> str:
    parse_address(_word(text))
    return str(text)


def _read_subnet(item: dict[str, Any]) -> Subnet:
    lease = item.get("lease_range") or {}
    subnet = Subnet(subnet=item["subnet"], gateway=item.get("gateway") or "", lease_start=lease.get("start_ip") or "",
                    lease_end=lease.get("end_ip") or "")
    inside = parse_subnet(_word(subnet.subnet))
    for address in (subnet.gateway, subnet.lease_start, subnet.lease_end):
        if address and not inside.holds(address):
            raise InvalidArgument(f"{address} is not in subnet {subnet.subnet}")
    return subnet


def _read_route(item: dict[str, Any]) -> Route:
    parse_subnet(_word(item["destination"]))
    return Route(destination=item["destination"], gateway=_address(item["gateway"]), metric=int(item.get("metric") or 0))


def to_json(network: Network) -> dict[str, Any]:
    """A network in the form of its file, which netavark takes too."""
    value: dict[str, Any] = {"name": network.name, "id": network.id, "driver": network.driver}
    if network.interface:                        # macvlan may leave it to netavark
        value["network_interface"] = network.interface
    value["created"] = network.created
    if network.subnets:
        value["subnets"] = [_subnet(subnet) for subnet in network.subnets]
    if network.routes:
        value["routes"] = [{"destination": route.destination, "gateway": route.gateway,
                            **({"metric": route.metric} if route.metric else {})} for route in network.routes]
    value |= {"ipv6_enabled": network.ipv6, "internal": network.internal, "dns_enabled": network.dns_enabled}
    for key, content in (("network_dns_servers", list(network.dns_servers)), ("labels", dict(sorted(network.labels.items()))),
                         ("options", dict(sorted(network.options.items()))), ("ipam_options", network.ipam)):
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
