"""What macvlan and ipvlan networks need before netavark is started, so that whoever cannot have them is told why."""

from __future__ import annotations

from podling.errors import PodlingError, Unsupported
from podling.linux import netlink, process, rootless, rtnetlink
from podling.network import hostside, namespaces
from podling.network.programs import find_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.network.plan import Joined

_WITHOUT_IPVLAN = [1, 4]          # Debian 12's netavark


def check(joined: tuple[Joined, ...], *, conf: ContainersConf, runroot: str) -> None:
    """The interfaces that the networks share are there, and this netavark knows the driver; Unsupported, PodlingError."""
    _check_parents(joined, runroot)
    _check_ipvlan(joined, conf)


def _check_parents(joined: tuple[Joined, ...], runroot: str) -> None:
    for network in (each.network for each in joined if each.network.driver in ("macvlan", "ipvlan")):
        parent = network.interface
        if parent and namespaces.inside(hostside.netns_of(runroot), lambda parent=parent: _is_there(parent)):  # type: ignore[misc]
            continue
        if rootless.owner():
            raise Unsupported(f"network {network.name}: the driver {network.driver} needs root: an ordinary user's networks are apart from "
                              f"the host's interfaces{f', {parent} too' if parent else ''}", hint="use a bridge network, or run it as root")
        if parent:
            raise PodlingError(f"network {network.name}: its parent interface {parent} does not exist", hint="see 'ip link'")


def _check_ipvlan(joined: tuple[Joined, ...], conf: ContainersConf) -> None:
    names = [each.network.name for each in joined if each.network.driver == "ipvlan"]
    if not names:
        return
    program = find_helper("netavark", conf)
    version = process.run([program, "--version"], check=False).stdout.decode(errors="replace").strip()
    numbers = [int(word) for word in version.rpartition(" ")[2].split(".")[:2] if word.isdigit()]
    if numbers and numbers <= _WITHOUT_IPVLAN:
        raise Unsupported(f"network {', '.join(names)}: the driver ipvlan needs a newer netavark than 1.4: {program} is {version}",
                          hint="install one, or use the driver macvlan")


def _is_there(interface: str) -> bool:
    with netlink.Connection(netlink.ROUTE) as route:
        return rtnetlink.find_link(route, interface) is not None
