"""``network create``, ``update``, ``rm`` and ``prune``: definitions come, change and go."""

from __future__ import annotations

import time

from podling.engine.networks.listing import list_networks
from podling.engine.options import RemoveOptions
from podling.engine.remove import remove as remove_container
from podling.errors import InUse, InvalidArgument, NoSuchContainer
from podling.model import Network, Route, Subnet
from podling.network import bridge, defining, hostnets, netavark
from podling.network.addresses import Range, format_address, parse_subnet
from podling.network.defining import DRIVERS, Taken, first_address
from podling.record import Record
from podling.values import units
from podling.values.addresses import parse_ip
from podling.values.gotext import parse_uint, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine

PRUNE_FILTERS = ("label", "label!", "until")


class CreateNetworkOptions(Record):
    """``network create``. Subnets, ranges and routes are texts as they were written; ``gateways`` belong to the first subnets."""

    name: str = ""                           # "" means: the first free podmanN
    driver: str = "bridge"
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()             # 10.89.0.16/28 or 10.89.0.16-10.89.0.31
    routes: tuple[str, ...] = ()             # DESTINATION,GATEWAY[,METRIC]
    ipv6: bool = False
    internal: bool = False
    disable_dns: bool = False
    dns_servers: tuple[str, ...] = ()
    options: dict[str, str] = {}
    interface: str = ""
    ipam_driver: str = ""
    labels: dict[str, str] = {}
    ignore: bool = False                     # one of this name is as good as made


def create(engine: Engine, options: CreateNetworkOptions) -> Network:
    """Define a network; the definition. What others define meanwhile, Podman too, is never overwritten."""
    asked = _asked(options)
    networks = engine.networks
    with networks.lock():
        if options.ignore and options.name and networks.exists(options.name):
            return networks.get(options.name)
        taken = Taken(networks=tuple(networks.list()), host=hostnets.look())
        if asked.driver in DRIVERS:
            network = defining.define(asked, taken, engine.conf.default_subnet_pools)
        else:
            from podling.network import plugins

            path = plugins.find(asked.driver, engine.conf)
            network = plugins.complete(defining.complete(defining.named(asked, taken), taken), path)
        networks.add(network)
    return network


def _asked(options: CreateNetworkOptions) -> Network:
    """What was asked as a definition that is not complete; InvalidArgument for what cannot be read."""
    interface, driver_options = options.interface, dict(options.options)
    if options.driver in ("macvlan", "ipvlan"):
        interface = driver_options.pop("parent", interface)
    return Network(
        name=options.name, id="", driver=options.driver, interface=interface, created=units.format_rfc3339(time.time_ns(), local=True),
        subnets=_subnets(options), routes=tuple(parse_route(text) for text in options.routes), ipv6=options.ipv6,
        internal=options.internal, dns_enabled=not options.disable_dns, dns_servers=options.dns_servers, labels=options.labels,
        options=driver_options, ipam={"driver": options.ipam_driver} if options.ipam_driver else {})


def _subnets(options: CreateNetworkOptions) -> tuple[Subnet, ...]:
    if not options.subnets and (options.gateways or options.ranges):
        raise InvalidArgument("cannot set gateway or range without subnet")
    for word, given in (("gateways", options.gateways), ("ranges", options.ranges)):
        if len(given) > len(options.subnets):
            raise InvalidArgument(f"cannot set more {word} than subnets")
    found = []
    for number, text in enumerate(options.subnets):
        subnet = Subnet(subnet=defining.text_of(_cidr(text)))
        if number < len(options.ranges):
            start, end = parse_range(options.ranges[number])
            subnet = subnet.replace(lease_start=start, lease_end=end)
        if number < len(options.gateways):
            subnet = subnet.replace(gateway=options.gateways[number])
        found.append(subnet)
    return tuple(found)


def _cidr(text: str) -> Range:
    try:
        return parse_subnet(text)
    except InvalidArgument:
        raise InvalidArgument(f"invalid CIDR address: {text}") from None


def parse_range(text: str) -> tuple[str, str]:
    """(first, last) of ``--ip-range``: a subnet's addresses but its own, or ``START-END``."""
    start, dash, end = text.partition("-")
    if not dash or "/" in text:
        subnet = _cidr(text)
        last = subnet.last - (1 if subnet.version == 6 and subnet.prefix < 128 else 0)
        return first_address(subnet), format_address(last, subnet.version)
    found = []
    for word, address in (("start", start), ("end", end)):
        try:
            found.append(parse_ip(address))
        except InvalidArgument:
            raise InvalidArgument(f"range {word} ip {quote(address)} is not a ip address") from None
    return found[0], found[1]


def parse_route(text: str) -> Route:
    """``--route DESTINATION,GATEWAY[,METRIC]``; InvalidArgument."""
    parts = text.split(",")
    if len(parts) not in (2, 3):
        raise InvalidArgument(f"invalid route: {text}\nFormat: --route <destination in CIDR>,<gateway>,<metric (optional)>")
    try:
        destination = parse_subnet(parts[0])
    except InvalidArgument:
        raise InvalidArgument(f"invalid route destination {parts[0]}") from None
    try:
        gateway = parse_ip(parts[1])
    except InvalidArgument:
        raise InvalidArgument(f"invalid route gateway {parts[1]}") from None
    try:
        metric = parse_uint(parts[2], bits=32) if len(parts) == 3 else 0
    except InvalidArgument:
        raise InvalidArgument(f"invalid route metric {parts[2]}") from None
    if parse_subnet(f"{parts[0].partition('/')[0]}/{destination.bits}").first != destination.first:
        raise InvalidArgument("route destination invalid", hint=f"the subnet is {defining.text_of(destination)}")
    return Route(destination=defining.text_of(destination), gateway=gateway, metric=metric)


def update(engine: Engine, name: str, *, add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> Network:
    """Change a network's own DNS servers; the definition then. Its running containers ask them from now on."""
    networks = engine.networks
    network = networks.get(name)
    defining.check_servers(add, "AddDNSServer")
    with networks.lock():
        network = networks.get(network.name)
        kept = tuple(server for server in network.dns_servers if server not in drop)
        changed = network.replace(dns_servers=tuple(dict.fromkeys((*kept, *add))))
        if changed != network:
            networks.replace(changed)
            for driver in (bridge, netavark):
                driver.redefine(changed, runroot=engine.paths.runroot)
    return changed


def containers_on(engine: Engine, network: Network) -> list[str]:
    """Ids of the containers, running or not, that are on a network."""
    return [container.id for container in engine.containers.all() if network.name in container.networks]


def remove(engine: Engine, name: str, *, force: bool = False, timeout: float | None = None) -> None:
    """Remove a network, with ``force`` its containers before; InUse, NoSuchNetwork."""
    network = engine.networks.get(name)
    if network.name == engine.networks.default_name:
        engine.networks.remove(network)          # refuses
    for container_id in containers_on(engine, network):
        if not force:
            raise InUse(f"{quote(name)} has associated containers with it. Use -f to forcibly delete containers and pods: "
                        "network is being used")
        try:
            remove_container(engine, engine.containers.get(container_id),
                             RemoveOptions(force=True, volumes=True, depend=True, timeout=timeout))
        except NoSuchContainer:                  # --rm was quicker
            continue
    _forget(engine, network)


def _forget(engine: Engine, network: Network) -> None:
    with engine.networks.lock():
        engine.networks.remove(network)
    engine.database.run("DELETE FROM lease_marks WHERE network = ?", network.name)


def prune(engine: Engine, filters: dict[str, tuple[str, ...]]) -> list[str]:
    """Remove the networks that no container is on; their names. The default network stays."""
    for name in filters:
        if name not in PRUNE_FILTERS:
            raise InvalidArgument(f'invalid filter "{name}"', hint=f"the filters are: {', '.join(PRUNE_FILTERS)}")
    removed = []
    for network in list_networks(engine, {**filters, "dangling": ("true",)}):
        _forget(engine, network)
        removed.append(network.name)
    return removed
