"""``network ls`` and ``network inspect``: the definitions, and which containers are on them."""

from __future__ import annotations

import time

from podling.engine.select import label_matches
from podling.engine.shapes import Struct
from podling.errors import InvalidArgument
from podling.network.networks import to_json
from podling.values import units
from podling.values.gotext import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Any

    from podling.engine.engine import Engine
    from podling.model import Network, NetworkStatus

FILTERS = ("dangling", "driver", "id", "label", "label!", "name", "until")


def list_networks(engine: Engine, filters: dict[str, tuple[str, ...]]) -> list[Network]:
    """The networks that match every filter, by name. Of a filter's values one must match; of labels all."""
    found = sorted(engine.networks.list(), key=lambda network: network.name)
    for name, values in filters.items():
        matches = _matcher(engine, name, values)
        found = [network for network in found if matches(network)]
    return found


def _matcher(engine: Engine, name: str, values: tuple[str, ...]) -> Callable[[Network], bool]:
    """The test of one filter."""
    match name:
        case "name":
            patterns = _patterns(values)
            return lambda network: any(pattern.search(network.name) for pattern in patterns)
        case "driver":
            return lambda network: network.driver in values
        case "id":
            return lambda network: any(network.id.startswith(value) for value in values)
        case "label":
            return lambda network: all(label_matches(network.labels, value) for value in values)
        case "label!":
            return lambda network: not any(label_matches(network.labels, value) for value in values)
        case "until":
            limits = [units.parse_time(value, now=time.time_ns()) for value in values]
            return lambda network: any(created(network) < limit for limit in limits)
        case "dangling":
            dangling = {_truth(value) for value in values}
            used = {used for container in engine.containers.all() for used in container.networks}
            default = engine.networks.default_name
            return lambda network: (network.name not in used and network.name != default) in dangling
    raise InvalidArgument(f'invalid filter "{name}"', hint=f"the filters are: {', '.join(FILTERS)}")


def _truth(value: str) -> bool:
    try:
        return parse_bool(value)
    except InvalidArgument:
        raise InvalidArgument(f'invalid dangling filter value "{value}"') from None


def _patterns(values: tuple[str, ...]) -> list[re.Pattern[str]]:
    import re

    try:
        return [re.compile(value) for value in values]
    except re.error as error:
        raise InvalidArgument(f"invalid name filter: {error}") from None


def shape(network: Network) -> dict[str, Any]:
    """A network in the shape of Podman's JSON."""
    return Struct(to_json(network))


def created(network: Network) -> int:
    """When the network was defined, in nanoseconds; 0 where its file does not say."""
    return units.parse_rfc3339(network.created) if network.created else 0


def inspect_network(engine: Engine, network: Network) -> dict[str, Any]:
    """A network with the running containers on it."""
    containers = {}
    for container, state in engine.containers.list_with_states():
        status = state.network.get(network.name)
        if state.status in ("running", "paused") and status is not None:
            containers[container.id] = {"name": container.name, "interfaces": {status.interface: _interface(status)}}
    return Struct({**to_json(network), "containers": containers})


def _interface(status: NetworkStatus) -> Struct:
    found = []
    for address in status.addresses:
        gateway = next((gateway for gateway in status.gateways if (":" in gateway) == (":" in address)), "")
        found.append({"ipnet": address, **({"gateway": gateway} if gateway else {})})
    return Struct({"subnets": found, "mac_address": status.mac_address})
