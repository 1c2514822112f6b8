"""Hosts with firewalld, which rejects what comes from interfaces unknown to it: our networks' subnets are sources of its zone ``trusted``.

netavark does the same. It is asked over D-Bus, by busctl, when a network gets its first container and loses its last; a reload of firewalld
forgets it, and ``network reload`` says it again. Where firewalld lets nobody else forward ports (``StrictForwardPorts``, since 2.3), none
is published.
"""

from __future__ import annotations

from podling import log
from podling.errors import PodlingError, Refused, explain
from podling.linux import files, process
from podling.linux.netlink import NETFILTER, Connection, KernelRefused, Request, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.network.firewall import NetworkRules

_GETTABLE = 10 << 8 | 1
_INET = 1
_ZONE = "trusted"
_SECONDS = 20.0
_SETTINGS = "/etc/firewalld/firewalld.conf"      # what its own D-Bus object "config" tells


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


def check_ports() -> None:
    """Refused where firewalld runs here and would reject what comes to ports that others than itself forward."""
    try:
        text = files.read_text(_SETTINGS)
    except OSError:
        return
    said = [value.strip() for name, _, value in (line.partition("=") for line in text.splitlines()) if name.strip() == "StrictForwardPorts"]
    if said and said[-1].lower() in ("yes", "true") and _runs():
        raise Refused("publishing ports: port forwarding not possible as firewalld StrictForwardPorts enabled",
                      hint="leave out -p, and have firewalld forward the port to the container: "
                           "firewall-cmd --zone public --add-forward-port=port=PORT:proto=tcp:toport=PORT:toaddr=ADDRESS")


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
