"""A container's network: its namespace, its addresses, and netavark, which connects them to the host.

    begin     ports held, addresses leased, namespace made, netavark started          -> Pending
    finish    netavark waited for                                                     -> what each network gave
    down      all of it undone, from what is on disk; idempotent

Between ``begin`` and ``finish`` the caller makes the container, so that both take their time side by side. One lock keeps
netavark's changes to the host apart.

What netavark was told is kept in ``<runroot>/networks/begun-<id>.json``, written before it starts, renamed to ``setup-<id>.json``
when it is done, and removed when its work is undone. Of a set-up that was killed half-way netavark leaves chains behind when it is
told to undo it; so one that was only begun is first done in full, in a fresh namespace, and then undone.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.errors import PodlingError, Unsupported, explain
from podling.linux import files, mounts, process
from podling.linux.locks import Lock
from podling.model import NetworkStatus
from podling.network import namespaces
from podling.network.addresses import parse_subnet
from podling.network.networks import to_json
from podling.network.ports import Reservation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.linux.locks import Held
    from podling.model import ContainerConfig, Network
    from podling.network.leases import Leases
    from podling.network.networks import Networks

_SECONDS = 120.0
_READ = 1 << 16


class Pending:
    """A network that is being set up. ``planned``: what it will be, as far as it is known before netavark has ended."""

    def __init__(self, netns: str, *, begun: str = "", done: str = "") -> None:
        self.netns = netns
        self._files = (begun, done)
        self.planned: dict[str, NetworkStatus] = {}
        self._reservation: Reservation | None = None
        self._child: process.Child | None = None
        self._lock: Held | None = None

    @property
    def reserved(self) -> tuple[int, ...]:
        """Sockets that hold the host ports, for conmon to keep."""
        return self._reservation.fds if self._reservation is not None else ()

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait for netavark; what each network gave. ProgramFailed in netavark's words."""
        if self._child is None:
            return self.planned
        try:
            output, errors = _drain(self._child)
            status = self._child.wait(_SECONDS)
        finally:
            self.abandon()
        answer = _parse(output)
        if status != 0:
            raise PodlingError(f"netavark: {answer.get('error') or errors.strip() or process.describe_status(status)}")
        os.rename(*self._files)
        return {name: _status(answer.get(name) or {}, planned) for name, planned in self.planned.items()}

    def abandon(self) -> None:
        """Let go of the child, the lock and our copies of the sockets."""
        if self._child is not None:
            self._child.close()
            if self._child.status is None:
                self._child.kill()
                self._child.wait()
            self._child = None
        if self._reservation is not None:
            self._reservation.close()
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None


def begin(config: ContainerConfig, *, networks: Networks, leases: Leases, conf: ContainersConf, runroot: str,
          owner_of: Callable[[], dict[tuple[int, str], str]]) -> Pending:
    """Begin to set up the container's own network; :func:`down` undoes whatever this and ``finish`` got to."""
    mode = config.net_ns.mode
    if mode not in ("bridge", "none"):
        raise Unsupported(f"the network mode {mode} is not available yet", hint="use bridge, host, none or container:NAME")
    begun, done = (f"{runroot}/networks/{word}-{config.id}.json" for word in ("begun", "setup"))
    pending = Pending(namespaces.path_of(config.id, namespaces.directory_of(runroot)), begun=begun, done=done)
    try:
        if mode == "none" or not config.networks:
            namespaces.make(pending.netns)
            return pending
        joined = {attachment.network: networks.get(attachment.network) for attachment in config.networks}
        pending._reservation = Reservation(config.ports, owner_of=owner_of)
        addresses = {attachment.network: leases.take(joined[attachment.network], config.id, attachment.static_ips)
                     for attachment in config.networks}
        request = _request(config, joined, addresses)
        pending.planned = _planned(config, joined, addresses)
        pending._lock = _lock(runroot)
        pending._lock.__enter__()
        files.write_atomic(begun, jsontext.dumps({"boot": process.boot_id(), "request": request}).encode())
        namespaces.make(pending.netns)
        pending._child = _netavark("setup", pending.netns, request, conf, runroot)
    except BaseException:
        pending.abandon()
        raise
    return pending


def down(config: ContainerConfig, *, leases: Leases, conf: ContainersConf, runroot: str) -> None:
    """Take the container's network down, whatever of it there is; idempotent. The first failure is raised after all was tried."""
    path = namespaces.path_of(config.id, namespaces.directory_of(runroot))
    failure: PodlingError | None = None
    for word in ("begun", "setup"):
        kept = f"{runroot}/networks/{word}-{config.id}.json"
        if os.path.exists(kept):
            with _lock(runroot):
                failure = _tear_down(kept, path, conf, runroot, only_begun=word == "begun")
    namespaces.delete(path)
    if config.net_ns.mode == "bridge":
        leases.release(config.id)
    if failure is not None:
        log.debug(f"taking down the network of container {config.id}: {explain(failure)}")


def _tear_down(kept: str, path: str, conf: ContainersConf, runroot: str, *, only_begun: bool) -> PodlingError | None:
    try:
        stored = jsontext.loads(files.read_bytes(kept))
    except FileNotFoundError:
        return None
    failure = None
    if stored["boot"] == process.boot_id():   # otherwise all of it went with the reboot
        if only_begun:
            namespaces.delete(path)
        if not mounts.is_mounted(path):        # the host's side is undone all the same
            namespaces.make(path)
        for verb in ("setup", "teardown") if only_begun else ("teardown",):
            failure = _call(verb, path, stored["request"], conf, runroot)
    os.unlink(kept)
    return failure


def _call(verb: str, path: str, request: dict[str, Any], conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Run netavark to its end; its failure, or None."""
    with _netavark(verb, path, request, conf, runroot) as child:
        output, errors = _drain(child)
        if child.wait(_SECONDS) == 0:
            return None
        return PodlingError(f"netavark: {_parse(output).get('error') or errors.strip()}")


def _lock(runroot: str) -> Held:
    os.makedirs(f"{runroot}/networks", 0o700, exist_ok=True)
    return Lock(f"{runroot}/networks/lock").exclusive()


# --- netavark ---------------------------------------------------------------------------------------------------------


def _netavark(verb: str, netns: str, request: dict[str, Any], conf: ContainersConf, runroot: str) -> process.Child:
    program = find_helper("netavark", conf)
    argv = [program, "--config", f"{runroot}/networks", "--rootless", "false", "--aardvark-binary",
            find_helper("aardvark-dns", conf, needed=False) or "aardvark-dns", verb, netns]
    env = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
    if conf.firewall_driver:
        env["NETAVARK_FW"] = conf.firewall_driver
    if conf.dns_bind_port:
        env["NETAVARK_DNS_PORT"] = str(conf.dns_bind_port)
    child = process.Child(argv, stdin=process.PIPE, stdout=process.PIPE, stderr=process.PIPE, env=env)
    try:
        files.write_all(child.stdin, jsontext.dumps(request).encode())
        child.close_stdin()
    except BaseException:
        child.close()
        child.kill()
        child.wait()
        raise
    return child


def find_helper(name: str, conf: ContainersConf, *, needed: bool = True) -> str:
    """The path of a helper program; Unsupported where it is missing, "" if it is not needed."""
    for directory in conf.helper_binaries_dir:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    found = process.find_program(name)
    if found is None and needed:
        raise Unsupported(f"could not find {name!r} in one of {', '.join(conf.helper_binaries_dir)}",
                          hint=f"install the package {name}, or use --network host or none")
    return found or ""


def _drain(child: process.Child) -> tuple[bytes, str]:
    """Everything that the program writes: its output, then its errors (both fit into a pipe)."""
    parts = []
    for fd in (child.stdout, child.stderr):
        text = b""
        while data := os.read(fd, _READ):
            text += data
        parts.append(text)
    return parts[0], parts[1].decode("utf-8", "replace")


def _parse(output: bytes) -> dict[str, Any]:
    if not output.strip():
        return {}
    try:
        answer = jsontext.loads(output)
    except ValueError:
        return {"error": output[:1000].decode("utf-8", "replace").strip()}
    return answer if isinstance(answer, dict) else {}


def _request(config: ContainerConfig, joined: dict[str, Network], addresses: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """What netavark is told, for set-up and teardown alike."""
    options = {}
    for number, attachment in enumerate(config.networks):
        options[attachment.network] = {
            "static_ips": list(addresses[attachment.network]), "interface_name": attachment.interface or f"eth{number}",
            "aliases": [*attachment.aliases, config.id[:12]], **({"static_mac": attachment.static_mac} if attachment.static_mac else {}),
            **({"options": attachment.options} if attachment.options else {})}
    request: dict[str, Any] = {
        "container_id": config.id, "container_name": config.name, "networks": options,
        "network_info": {name: to_json(network) for name, network in joined.items()}}
    if config.ports:
        request["port_mappings"] = [{"container_port": port.container_port, "host_ip": port.host_ip, "host_port": port.host_port,
                                     "protocol": port.protocol, "range": port.length} for port in config.ports]
    if config.dns_servers and config.dns_servers != ("none",):
        request["dns_servers"] = list(config.dns_servers)
    return request


def _planned(config: ContainerConfig, joined: dict[str, Network], addresses: dict[str, tuple[str, ...]]) -> dict[str, NetworkStatus]:
    planned = {}
    for number, attachment in enumerate(config.networks):
        network = joined[attachment.network]
        planned[attachment.network] = NetworkStatus(
            interface=attachment.interface or f"eth{number}", mac_address=attachment.static_mac,
            addresses=tuple(f"{address}/{parse_subnet(subnet.subnet).prefix}"
                            for address, subnet in zip(addresses[attachment.network], network.subnets, strict=True)),
            gateways=tuple(subnet.gateway for subnet in network.subnets if subnet.gateway),
            dns_servers=tuple(subnet.gateway for subnet in network.subnets if subnet.gateway) if network.dns_enabled else (),
            dns_search=("dns.podman",) if network.dns_enabled else ())
    return planned


def _status(answer: dict[str, Any], planned: NetworkStatus) -> NetworkStatus:
    """A network's answer over what was planned."""
    interface = (answer.get("interfaces") or {}).get(planned.interface) or {}
    subnets = interface.get("subnets") or []
    return planned.replace(
        mac_address=interface.get("mac_address", planned.mac_address),
        addresses=tuple(subnet["ipnet"] for subnet in subnets) or planned.addresses,
        gateways=tuple(subnet["gateway"] for subnet in subnets if subnet.get("gateway")) or planned.gateways,
        dns_servers=tuple(answer.get("dns_server_ips") or ()) or planned.dns_servers,
        dns_search=tuple(answer.get("dns_search_domains") or ()) or planned.dns_search)
