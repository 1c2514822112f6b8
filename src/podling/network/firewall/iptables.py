"""The firewall by iptables, for hosts whose containers.conf says so or that have no nftables.

Each rule carries a comment by which it is found again: ``podling:`` and what it belongs to. What is there is read by iptables-save, what
is missing is added and what must go is deleted, in the words of iptables-save, by one iptables-restore for each version of IP. So all of
it is idempotent, whatever was flushed in between.

    nat     PODLING-DNAT      published ports; from PREROUTING and OUTPUT, for what is sent to this host
            PODLING-SNAT      masquerading; from POSTROUTING
    filter  PODLING-FROM      isolation and internal networks; from PODLING-FORWARD, before it accepts
            PODLING-TO-...    where isolated (TRUE), strictly isolated (STRICT) and all (ANY) networks drop what does not belong there
            PODLING-FORWARD   what is accepted where the host's policy is to drop; from FORWARD
            PODLING-INPUT     questions for names; from INPUT
"""

from __future__ import annotations

import os

from podling.linux import process, rootless
from podling.network import programs
from podling.network.addresses import parse_subnet
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.network.firewall import Forward, NetworkRules

_MARK = "podling:"
_CHAINS = {"nat": ("PODLING-DNAT", "PODLING-SNAT"),
           "filter": ("PODLING-FROM", "PODLING-TO-TRUE", "PODLING-TO-STRICT", "PODLING-TO-ANY", "PODLING-FORWARD", "PODLING-INPUT")}


class Rule(Record):
    """A rule of ours. ``key``: what its comment says after the mark; the same key, the same rule. ``first``: it comes before others."""

    table: str
    chain: str
    key: str
    match: str
    target: str
    first: bool = False

    @property
    def text(self) -> str:
        """As iptables-restore takes it."""
        return f'{"-I" if self.first else "-A"} {self.chain} {self.match} -m comment --comment "{_MARK}{self.key}" -j {self.target}'


_JUMPS = (
    Rule(table="nat", chain="PREROUTING", key="published", match="-m addrtype --dst-type LOCAL", target="PODLING-DNAT"),
    Rule(table="nat", chain="OUTPUT", key="published-here", match="-m addrtype --dst-type LOCAL", target="PODLING-DNAT"),
    Rule(table="nat", chain="POSTROUTING", key="masquerade", match="", target="PODLING-SNAT"),
    Rule(table="filter", chain="FORWARD", key="forward", match="", target="PODLING-FORWARD", first=True),
    Rule(table="filter", chain="PODLING-FORWARD", key="from", match="", target="PODLING-FROM", first=True),
    Rule(table="filter", chain="INPUT", key="input", match="", target="PODLING-INPUT", first=True),
)


# --- the driver -------------------------------------------------------------------------------------------------------


def works() -> bool:
    """Whether the programs are there."""
    return programs.find("iptables-restore") is not None


def add(network: NetworkRules, forwards: Iterable[Forward]) -> None:
    """A network's rules and ports; what is there already stays."""
    forwards = (*network.redirected, *forwards)
    for version in (4, 6):
        wanted = [*network_rules(network, version), *port_rules(forwards, version)]
        if wanted:
            _add(version, [*_JUMPS, *wanted])


def close(forwards: Iterable[Forward]) -> None:
    """No such ports any more; those that are not there are none either."""
    forwards = tuple(forwards)
    for version in (4, 6):
        _delete(version, {rule.key for rule in port_rules(forwards, version)})


def remove_network(network: NetworkRules) -> None:
    """No such network any more."""
    for version in (4, 6):
        _delete(version, {rule.key for rule in (*network_rules(network, version), *port_rules(network.redirected, version))})


def remove_all() -> None:
    """All chains of ours, and what leads to them."""
    for version in (4, 6):
        tables = _saved(version)
        if not any(_MARK in line for lines in tables.values() for line in lines):
            continue
        text = ""
        for table, lines in tables.items():
            ours = [chain for chain in _CHAINS.get(table, ()) if any(line.startswith(f":{chain} ") for line in lines)]
            rules = [line.replace("-A", "-D", 1) for line in lines if line.startswith("-A") and _MARK in line]
            text += _table(table, [*rules, *(f"-X {chain}" for chain in ours)])
        _restore(version, text)


def held() -> tuple[int, ...]:
    """Nothing is held."""
    return ()


# --- rules ------------------------------------------------------------------------------------------------------------


def network_rules(network: NetworkRules, version: int) -> list[Rule]:
    """A network's rules for one version of IP; none where it has no subnet of it."""
    subnets = [text for text in network.subnets if parse_subnet(text).version == version]
    if not subnets:
        return []
    return [*_masquerading(network, subnets, version), *_forwarding(network), *_isolation(network), *_names(network)]


def _masquerading(network: NetworkRules, subnets: list[str], version: int) -> list[Rule]:
    interface, found = network.interface, []
    parts = [("local", f"-s 127.0.0.0/8 -o {interface} -m conntrack --ctstate DNAT", "MASQUERADE")] if version == 4 else []
    for subnet in subnets:
        parts += [(f"self {subnet}", f"-s {subnet} -d {subnet} -m conntrack --ctstate DNAT", "MASQUERADE"),
                  (f"within {subnet}", f"-s {subnet} -d {subnet}", "RETURN")]
        if network.masquerade and not network.internal:
            parts.append((f"out {subnet}", f"-s {subnet} ! -d {'224.0.0.0/4' if version == 4 else 'ff00::/8'}", "MASQUERADE"))
    for word, match, target in parts:
        found.append(Rule(table="nat", chain="PODLING-SNAT", key=f"{interface} {word}", match=match, target=target))
    return found


def _forwarding(network: NetworkRules) -> list[Rule]:
    interface = network.interface
    return [Rule(table="filter", chain="PODLING-FORWARD", key=f"{interface} {word}", match=match, target="ACCEPT") for word, match in (
        ("leaves", f"-i {interface}"),
        ("answers", f"-o {interface} -m conntrack --ctstate RELATED,ESTABLISHED"),
        ("published", f"-o {interface} -m conntrack --ctstate DNAT"))]


def _isolation(network: NetworkRules) -> list[Rule]:
    """Whoever is isolated sends to no isolated one, strictly isolated ones to nobody, nobody to them."""
    interface = network.interface
    sees = {"true": "PODLING-TO-TRUE", "strict": "PODLING-TO-ANY"}.get(network.isolate, "PODLING-TO-STRICT")
    closed = {"true": ("TRUE",), "strict": ("TRUE", "STRICT")}.get(network.isolate, ())
    parts = [("PODLING-FROM", "isolate", f"-i {interface} ! -o {interface}", sees)]
    parts += [(f"PODLING-TO-{word}", f"closed-{word.lower()}", f"-o {interface}", "DROP") for word in (*closed, "ANY")]
    if network.internal:
        parts += [("PODLING-FROM", "in", f"! -i {interface} -o {interface}", "DROP"),
                  ("PODLING-FROM", "out", f"-i {interface} ! -o {interface}", "DROP")]
    return [Rule(table="filter", chain=chain, key=f"{interface} {word}", match=match, target=target)
            for chain, word, match, target in parts]


def _names(network: NetworkRules) -> list[Rule]:
    return [Rule(table="filter", chain="PODLING-INPUT", key=f"{network.interface} names-{protocol}", target="ACCEPT",
                 match=f"-i {network.interface} -p {protocol} --dport {network.names_port}")
            for protocol in ("udp", "tcp") if network.names]


def port_rules(forwards: Iterable[Forward], version: int) -> list[Rule]:
    """Published ports; a run of ports that keep their numbers is one rule."""
    found = []
    for forward in forwards:
        if (":" in forward.address) != (version == 6):
            continue
        same = forward.host_port == forward.container_port
        runs = [(forward.host_port, forward.length, "")] if same else [
            (forward.host_port + at, 1, f":{forward.container_port + at}") for at in range(forward.length)]
        address = f"[{forward.address}]" if version == 6 else forward.address
        for port, length, target in runs:
            ports = f"{port}:{port + length - 1}" if length > 1 else str(port)
            at = f"-d {forward.host_ip} " if forward.host_ip else ""
            found.append(Rule(
                table="nat", chain="PODLING-DNAT", key=f"port {forward.host_ip} {forward.protocol} {ports} {forward.address}{target}",
                match=f"{at}-p {forward.protocol} --dport {ports}",
                target=f"DNAT --to-destination {address if target else forward.address}{target}"))
    return found


# --- the programs -----------------------------------------------------------------------------------------------------


def _add(version: int, rules: list[Rule]) -> None:
    tables = _saved(version)
    text = ""
    for table, chains in _CHAINS.items():
        lines = tables.get(table, [])
        missing = [f":{chain} - [0:0]" for chain in chains if not any(line.startswith(f":{chain} ") for line in lines)]
        missing += [rule.text for rule in rules if rule.table == table and not any(_is(line, rule.key) for line in lines)]
        text += _table(table, missing)
    if text:
        _restore(version, text)


def _delete(version: int, keys: set[str]) -> None:
    if not keys:
        return
    text = "".join(_table(table, [line.replace("-A", "-D", 1) for line in lines if any(_is(line, key) for key in keys)])
                   for table, lines in _saved(version).items())
    if text:
        _restore(version, text)


def _is(line: str, key: str) -> bool:
    return f'--comment "{_MARK}{key}" ' in line or f"--comment {_MARK}{key} " in line     # words are quoted where need be


def _table(name: str, lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in (f"*{name}", *lines, "COMMIT")) if lines else ""


def _saved(version: int) -> dict[str, list[str]]:
    """table -> what iptables-save tells of it; nothing where this version of IP is not there."""
    program = programs.find("iptables-save" if version == 4 else "ip6tables-save")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    done = process.run([program], check=version == 4, env=_environment()) if program else None
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines() if done is not None else ():
        if line.startswith("*"):
            lines = found.setdefault(line[1:], [])
        elif line.startswith((":", "-")):
            lines.append(line)
    return found


def _restore(version: int, text: str) -> None:
    program = "iptables-restore" if version == 4 else "ip6tables-restore"
    process.run([program, "--noflush", "-w"], input=text.encode("utf-8", "surrogateescape"), env=_environment())


def _environment() -> dict[str, str]:
    """The lock's usual place is root's."""
    kept = {"PATH": programs.search_path()}
    directory = os.environ.get("XDG_RUNTIME_DIR")
    if rootless.owner() and directory:
        kept["XTABLES_LOCKFILE"] = f"{directory}/podling-xtables.lock"
    return kept
