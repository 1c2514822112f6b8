"""/etc/hosts and /etc/resolv.conf of a running container that joins or leaves a network.

Both are mounted into it, so the same files are written, not new ones. Only our own lines come and go: the container may have changed the
rest. Whoever shares its network has the same files.
"""

from __future__ import annotations

import os

from podling.linux import files
from podling.runtime.hosts import Entry, parse_hosts
from podling.runtime.resolv import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.model import ContainerConfig, NetworkStatus


def joined(config: ContainerConfig, run: str, status: NetworkStatus, others: Iterable[NetworkStatus]) -> None:
    """The container has a network's addresses, and asks its servers first. ``run``: the directory of the files."""
    hosts = _read(f"{run}/hosts")
    if config.manage_hosts and hosts is not None:
        names = _names(config, hosts, others)
        lines = [Entry(address=address, names=names).line() for address in _addresses(status)]
        _write(f"{run}/hosts", hosts + ("" if not hosts or hosts.endswith("\n") else "\n") + "".join(lines))
    resolv = _read(f"{run}/resolv.conf")
    if config.manage_resolv_conf and resolv is not None and not config.dns_servers:
        known = parse(resolv)
        search = known.search if config.dns_search else tuple(dict.fromkeys((*status.dns_search, *known.search)))
        changed = known.replace(servers=tuple(dict.fromkeys((*status.dns_servers, *known.servers))), search=search)
        if changed != known:
            _write(f"{run}/resolv.conf", changed.text())


def left(config: ContainerConfig, run: str, status: NetworkStatus, others: Iterable[NetworkStatus]) -> None:
    """The container has a network's addresses no more; ``others``: the networks that it is still on."""
    others = tuple(others)
    hosts = _read(f"{run}/hosts")
    if config.manage_hosts and hosts is not None:
        gone = _addresses(status)
        kept = [line for line in hosts.splitlines(keepends=True) if line.partition("#")[0].split()[:1] not in [[each] for each in gone]]
        _write(f"{run}/hosts", "".join(kept))
    resolv = _read(f"{run}/resolv.conf")
    if config.manage_resolv_conf and resolv is not None and not config.dns_servers:
        known = parse(resolv)
        servers = {server for other in others for server in other.dns_servers}
        domains = {domain for other in others for domain in other.dns_search} | set(config.dns_search)
        changed = known.replace(
            servers=tuple(server for server in known.servers if server in servers or server not in status.dns_servers),
            search=tuple(domain for domain in known.search if domain in domains or domain not in status.dns_search))
        if changed != known:
            _write(f"{run}/resolv.conf", changed.text())


def _addresses(status: NetworkStatus) -> list[str]:
    return [address.partition("/")[0] for address in status.addresses]


def _names(config: ContainerConfig, hosts: str, others: Iterable[NetworkStatus]) -> tuple[str, ...]:
    """The container's own names: those that its other addresses have in the file."""
    own = {address for other in others for address in _addresses(other)}
    found = next((entry.names for entry in parse_hosts(hosts) if entry.address in own), ())
    return found or tuple(dict.fromkeys((config.hostname or config.id[:12], config.name)))


def _read(path: str) -> str | None:
    try:
        return files.read_text(path)
    except FileNotFoundError:
        return None


def _write(path: str, text: str) -> None:
    """Into the same file: another would not be seen through the mount."""
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        files.write_all(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)
