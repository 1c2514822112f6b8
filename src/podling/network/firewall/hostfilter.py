"""Hosts whose own filter drops what is forwarded (Docker's, for one) or what comes in (ufw's): our bridges are let through there too.

A packet must be accepted by every table that sees it: to accept it in ours is not enough where a chain of iptables drops. Where the
policy of FORWARD or INPUT is to drop, our networks get rules in it, in a chain ``PODLING-FORWARD`` or ``PODLING-INPUT`` that comes first.
"""

from __future__ import annotations

from podling import log
from podling.linux import process
from podling.linux.netlink import NETFILTER, Connection, KernelRefused, Request, attributes, text
from podling.network import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.network.firewall import NetworkRules

_GETCHAIN = 10 << 8 | 4
_PROGRAMS = ((2, "iptables"), (10, "ip6tables"))       # NFPROTO_IPV4, NFPROTO_IPV6
_POLICY = 5
_DROP = b"\0\0\0\0"
_ENOENT = 2


def let_through(network: NetworkRules) -> None:
    """Let a network's packets through where the host drops them."""
    for program, chain in _dropping():
        rules = _rules(network, chain)
        if rules:
            _program(program, "-N", _own(chain))
        for at, rule in ((chain, ("-j", _own(chain))), *((_own(chain), rule) for rule in rules)) if rules else ():
            if not _program(program, "-C", at, *rule):
                _program(program, "-I", at, *rule)


def take_back(network: NetworkRules) -> None:
    """The network's rules go, and with the last of them the chain."""
    for program, chain in _dropping():
        for rule in _rules(network, chain):
            _program(program, "-D", _own(chain), *rule)
        if _has_rules(program, _own(chain)):
            continue
        _program(program, "-D", chain, "-j", _own(chain))
        _program(program, "-X", _own(chain))


def _own(chain: str) -> str:
    return f"PODLING-{chain}"


def _rules(network: NetworkRules, chain: str) -> tuple[tuple[str, ...], ...]:
    interface = network.interface
    if chain == "INPUT":
        port = str(network.names_port)
        return tuple(("-i", interface, "-p", protocol, "--dport", port, "-j", "ACCEPT")
                     for protocol in ("udp", "tcp") if network.names)
    return (("-i", interface, "-j", "ACCEPT"),
            ("-o", interface, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
            ("-o", interface, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"))


def _dropping() -> list[tuple[str, str]]:
    """(program, chain) of those chains whose policy is to drop."""
    with Connection(NETFILTER) as netfilter:
        return [(program, chain) for family, program in _PROGRAMS for chain in ("FORWARD", "INPUT")
                if _drops(netfilter, family, chain) and programs.find(program)]


def _drops(netfilter: Connection, family: int, chain: str) -> bool:
    try:
        answers = netfilter.ask(Request(_GETCHAIN, bytes((family, 0, 0, 0)) + text(1, "filter") + text(3, chain),
                                        what=f"nftables: chain {chain}"))
    except KernelRefused as error:
        if error.errno != _ENOENT:
            log.debug(f"firewall: {error}")
        return False
    return bool(answers) and attributes(answers[0][4:]).get(_POLICY) == _DROP


def _has_rules(program: str, chain: str) -> bool:
    listed = process.run([programs.find(program) or program, "-w", "-S", chain], check=False).stdout
    return b"-A " in listed


def _program(program: str, *words: str) -> bool:
    """Whether iptables could."""
    return process.run([programs.find(program) or program, "-w", *words], check=False).status == 0
