"""UDP flows that the connection tracker goes on sending where a port led before.

A flow is forwarded as its first packet was, for as long as packets come. Clients that never stop (of name servers, syslog, VPNs) would miss
a container that starts, or be sent to one that has ended: the tracker forgets their flows when a published port comes or goes.
"""

from __future__ import annotations

from podling import log
from podling.errors import PodlingError, explain
from podling.linux.netlink import NETFILTER, Connection, Request, attribute, attributes
from podling.network.addresses import format_address
from podling.network.outward import local_addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.network.firewall import Forward

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2         # of NFNL_SUBSYS_CTNETLINK
_ORIGINAL, _IP, _PROTOCOL = 1, 1, 2
_NUMBER, _TO_PORT = 1, 3
_TO_ADDRESS = {2: 2, 10: 4}                    # AF_INET: CTA_IP_V4_DST, AF_INET6: CTA_IP_V6_DST
_UDP = b"\x11"
_NESTED = 0x8000
_GONE = (2,)                                   # ENOENT: it ended meanwhile


def forget(forwards: Iterable[Forward]) -> None:
    """No flow to these published ports is known any more; nothing for other protocols than UDP. What cannot be is told in the log."""
    forwards = [forward for forward in forwards if forward.protocol == "udp"]
    if not forwards:
        return
    try:
        here = set(local_addresses())
        with Connection(NETFILTER) as tracker:
            for family in {10 if ":" in forward.address else 2 for forward in forwards}:
                head = bytes((family, 0, 0, 0))
                known = tracker.ask(Request(_GET, head, what="listing flows"), dump=True)
                tracker.run([Request(_DELETE, head + attribute(_ORIGINAL | _NESTED, flow), what="forgetting a flow", fine=_GONE)
                             for flow in (attributes(body[4:]).get(_ORIGINAL, b"") for body in known if body[0] == family)
                             if _leads_to(flow, family, forwards, here)])
    except PodlingError as error:              # a kernel without CONFIG_NF_CT_NETLINK
        log.debug(f"UDP flows go on as they are: {explain(error)}")


def _leads_to(flow: bytes, family: int, forwards: list[Forward], here: set[str]) -> bool:
    """Whether a flow, as its first packet was addressed, is for one of the ports."""
    parts = attributes(flow)
    addresses, protocol = attributes(parts.get(_IP, b"")), attributes(parts.get(_PROTOCOL, b""))
    if protocol.get(_NUMBER) != _UDP:
        return False
    port = int.from_bytes(protocol.get(_TO_PORT, b""), "big")
    address = format_address(int.from_bytes(addresses.get(_TO_ADDRESS[family], b""), "big"), 4 if family == 2 else 6)
    return any(forward.host_port <= port < forward.host_port + forward.length and (
        address == forward.host_ip or (not forward.host_ip and (address in here or address.startswith("127.")))) for forward in forwards)
