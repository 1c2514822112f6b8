"""Hosts with firewalld, which rejects what comes from interfaces unknown to it: our networks' subnets are sources of its zone ``trusted``.

netavark does the same. It is asked over D-Bus, by busctl, when a network gets its first container and loses its last; a reload of firewalld
forgets it, and ``network reload`` says it again.
"""

from __future__ import annotations

from podling import log
from podling.errors import PodlingError, explain
from podling.linux import process
from podling.linux.netlink import NETFILTER, Connection, KernelRefused, Request, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.network.firewall import NetworkRules

_GETTABLE = 10 << 8 | 1
_INET = 1
_ZONE = "trusted"
_SECONDS = 20.0


def trust(network: NetworkRules) -> None:
    """firewalld, if it runs here, lets the network's containers through; idempotent. What fails is told, and nothing more."""
    for subnet in network.subnets if _runs() else ():
        try:
            if _call("querySource", subnet) != b"b true":
                _call("addSource", subnet)
        except PodlingError as error:
            log.warning(f"firewalld may reject what the containers of {subnet} send: {explain(error)}")


def distrust(network: NetworkRules) -> None:
    """The network is gone; idempotent."""
    for subnet in network.subnets if _runs() else ():
        try:
            if _call("querySource", subnet) == b"b true":
                _call("removeSource", subnet)
        except PodlingError as error:
            log.debug(f"firewalld: {explain(error)}")


def _runs() -> bool:
    """Whether firewalld's table is in this namespace."""
    try:
        with Connection(NETFILTER) as netfilter:
            return bool(netfilter.ask(Request(_GETTABLE, bytes((_INET, 0, 0, 0)) + text(1, "firewalld"), what="nftables: table firewalld")))
    except PodlingError as error:
        if not isinstance(error, KernelRefused):
            log.debug(explain(error))
        return False


def _call(method: str, subnet: str) -> bytes:
    done = process.run(["busctl", "--system", "call", "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1",
                        "org.fedoraproject.FirewallD1.zone", method, "ss", _ZONE, subnet], timeout=_SECONDS)
    return done.stdout.strip()
