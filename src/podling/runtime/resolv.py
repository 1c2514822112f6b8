"""/etc/resolv.conf of a container: the user's servers, else the networks', else the host's that it can reach."""

from __future__ import annotations

import os

from podling import log
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.model import ContainerConfig, NetworkStatus

_LIMIT = 1 << 20
_DEFAULT_SERVERS = ("8.8.8.8", "8.8.4.4")
_DEFAULT_SERVERS_6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")
# A local resolver's address, when it is the only one -> the file with the servers behind it
_BEHIND = {"127.0.0.53": "/run/systemd/resolve/resolv.conf", "127.0.0.1": "/run/NetworkManager/no-stub-resolv.conf"}


class ResolvConf(Record):
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """As it stands in the file."""
        lines = []
        if self.search and self.search != (".",):
            lines.append(f"search {' '.join(self.search)}\n")
        lines += [f"nameserver {server}\n" for server in self.servers]
        if self.options:
            lines.append(f"options {' '.join(self.options)}\n")
        return "".join(lines)


def parse(text: str) -> ResolvConf:
    """What a file says; of several search or options lines the last counts, as for the C library."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) == 2 and words[0] == "nameserver":
            servers.append(words[1])
        elif words and words[0] in ("search", "domain"):
            search = words[1:]
        elif words and words[0] == "options":
            options = words[1:]
    return ResolvConf(servers=tuple(servers), search=tuple(search), options=tuple(options))


def resolv_conf(*, config: ContainerConfig, statuses: Iterable[NetworkStatus], host_network: bool, ipv6: bool, netns: str = "",
                host_file: str = "/etc/resolv.conf") -> str:
    """The text of a container's resolv.conf.

    ``host_network``: it shares the host's network and so reaches the host's local resolvers. ``ipv6``: it has an IPv6
    address. ``netns``: path of a namespace made by others, which may have a file of its own in /etc/netns.
    """
    statuses = tuple(statuses)
    wanted = ResolvConf(servers=config.dns_servers, search=config.dns_search, options=config.dns_options)
    keep_host = not wanted.servers
    if keep_host:
        servers = tuple(server for status in statuses for server in status.dns_servers)
        domains = tuple(domain for status in statuses for domain in status.dns_search)
        wanted = wanted.replace(servers=servers, search=wanted.search or domains)
    host = _host(host_network=host_network, netns=netns, host_file=host_file)
    if not host_network:
        host = reachable(host, ipv6=ipv6)
    return merge(wanted, host, keep_host=keep_host).text()


def merge(wanted: ResolvConf, host: ResolvConf, *, keep_host: bool) -> ResolvConf:
    """What was asked for, completed by the host's: each part where nothing was asked, all of it with ``keep_host``.

    A search domain ``.`` asks for none at all.
    """
    search = () if "." in wanted.search else wanted.search
    if not wanted.search or (keep_host and search):
        search += host.search
    servers = wanted.servers + host.servers if keep_host or not wanted.servers else wanted.servers
    options = wanted.options + host.options if keep_host or not wanted.options else wanted.options
    return ResolvConf(servers=servers, search=search, options=options)


def reachable(host: ResolvConf, *, ipv6: bool) -> ResolvConf:
    """Without the servers that a container with its own network cannot reach; public ones where none is left."""
    servers = tuple(server for server in host.servers if not is_local(server) and (ipv6 or ":" not in server))
    if not servers:
        log.info("no DNS servers are left that the container can reach: using public ones")
        servers = _DEFAULT_SERVERS + (_DEFAULT_SERVERS_6 if ipv6 else ())
    return host.replace(servers=servers)


def is_local(server: str) -> bool:
    """Whether an address is this host's own loopback."""
    return server.startswith("127.") or server.partition("%")[0] == "::1"


def _host(*, host_network: bool, netns: str, host_file: str) -> ResolvConf:
    path = host_file
    if netns and not netns.startswith("/proc/"):
        own = f"/etc/netns/{os.path.basename(netns)}/resolv.conf"
        path = own if os.path.exists(own) else path
    found = parse(_read(path))
    if not host_network and len(found.servers) == 1:
        behind = _BEHIND.get(found.servers[0])
        if behind and os.path.exists(behind):
            found = parse(_read(behind))
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except FileNotFoundError:
        return ""
