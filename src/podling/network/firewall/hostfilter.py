"""Hosts whose own filter drops what is forwarded (Docker's, for one): our bridges are let through there too.

A packet must be accepted by every table that sees it: to accept it in ours is not enough where the chain FORWARD of iptables drops. Where
that chain's policy is to drop, our networks get rules in it, in a chain ``PODLING-FORWARD`` of our own that comes first.
"""

from __future__ import annotations

from podling import log
from podling.linux import process
from podling.linux.netlink import NETFILTER, Connection, KernelRefused, Request, attributes, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.network.firewall import NetworkRules

CHAIN = "PODLING-FORWARD"
_GETCHAIN = 10 << 8 | 4
_FAMILIES = ((2, "iptables"), (10, "ip6tables"))       # NFPROTO_IPV4, NFPROTO_IPV6
_POLICY = 5
_DROP = b"\0\0\0\0"
_ENOENT = 2


def let_through(network: NetworkRules) -> None:
    """Let a network's packets through where the host drops what is forwarded."""
    for program in _dropping():
        _program(program, "-N", CHAIN)
        for chain, rule in (("FORWARD", ("-j", CHAIN)), *((CHAIN, rule) for rule in _rules(network))):
            if not _program(program, "-C", chain, *rule):
                _program(program, "-I", chain, *rule)


def take_back(network: NetworkRules) -> None:
    """The network's rules go, and with the last of them the chain."""
    for program in _dropping():
        for rule in _rules(network):
            _program(program, "-D", CHAIN, *rule)
        if _has_rules(program):
            continue
        _program(program, "-D", "FORWARD", "-j", CHAIN)
        _program(program, "-X", CHAIN)


def _rules(network: NetworkRules) -> tuple[tuple[str, ...], ...]:
    interface = network.interface
    return (("-i", interface, "-j", "ACCEPT"),
            ("-o", interface, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
            ("-o", interface, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"))


def _dropping() -> list[str]:
    """The programs of the tables in whose chain FORWARD the policy is to drop."""
    found = []
    with Connection(NETFILTER) as netfilter:
        for family, program in _FAMILIES:
            try:
                answers = netfilter.ask(Request(_GETCHAIN, bytes((family, 0, 0, 0)) + text(1, "filter") + text(3, "FORWARD"),
                                                what="nftables: chain FORWARD"))
            except KernelRefused as error:
                if error.errno != _ENOENT:
                    log.debug(f"firewall: {error}")
                continue
            if answers and attributes(answers[0][4:]).get(_POLICY) == _DROP and process.find_program(program):
                found.append(program)
    return found


def _has_rules(program: str) -> bool:
    listed = process.run([program, "-w", "-S", CHAIN], check=False).stdout
    return b"-A " in listed


def _program(program: str, *words: str) -> bool:
    """Whether iptables could."""
    return process.run([program, "-w", *words], check=False).status == 0
