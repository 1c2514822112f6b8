"""netavark, Podman's program for networks: for drivers that are not ours, and for all where containers.conf says so.

What netavark was told is kept in ``<runroot>/networks/begun-<id>.json``, written before it starts, renamed to ``setup-<id>.json``
when it is done, and removed when its work is undone. Of a set-up that was killed half-way netavark leaves chains behind when it is
told to undo it; so one that was only begun is first done in full, in a fresh namespace, and then undone. One lock keeps its
changes to the host apart.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.errors import PodlingError, explain
from podling.linux import files, mounts, netlink, pids, process, rtnetlink
from podling.network import dhcp, dns, hostside, namespaces, outward, parents, plan
from podling.network.networks import from_json, to_json
from podling.network.programs import find_helper, search_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.linux.locks import Held
    from podling.model import ContainerConfig, Network, NetworkStatus
    from podling.network.plan import Joined
    from podling.values.ports import PortMapping

_SECONDS = 120.0
_ORPHANS_SECONDS = 2.0
_READ = 1 << 16
_WORDS = ("begun", "setup")


class Pending:
    """netavark while it connects a container."""

    def __init__(self, container_id: str, joined: tuple[Joined, ...], runroot: str) -> None:
        self._begun, self._done = (_kept(word, container_id, runroot) for word in _WORDS)
        self._planned = {each.network.name: plan.status(each) for each in joined}
        self._lock: Held | None = dns.lock(runroot)
        self._lock.__enter__()
        self._child: process.Child | None = None
        self._runroot = runroot
        self._bridges = tuple(each.network.interface for each in joined if each.network.driver == "bridge")
        self.host = "" if self._bridges else next(iter(outward.outward_addresses()), "none")      # a gateway is somebody else then

    def begin(self, netns: str, request: dict[str, Any], conf: ContainersConf, runroot: str) -> None:
        """Start netavark; its request is on disk before."""
        files.write_atomic(self._begun, jsontext.dumps({"boot": pids.boot_id(), "request": request}).encode())
        self._child = _netavark("setup", netns, request, conf, runroot)

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait for netavark; what each network gave. PodlingError in netavark's words."""
        assert self._child is not None
        try:
            output, errors = _drain(self._child)
            status = _wait(self._child)
            answer = _parse(output)
            if status != 0:
                raise PodlingError(f"netavark: {_words(status, answer, errors)}")
            found = {name: _status(answer.get(name) or {}, planned) for name, planned in self._planned.items()}
            _keep(self._begun, self._done, {name: status.mac_address for name, status in found.items()})
            _pin(self._bridges, self._runroot)
        finally:
            self.abandon()
        return found

    def abandon(self) -> None:
        """Let go of the child and the lock."""
        if self._child is not None:
            self._child.close()
            if self._child.status is None:
                self._child.kill()
                _wait(self._child)
            self._child = None
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None


def _pin(bridges: Iterable[str], runroot: str) -> None:
    """The bridges keep their hardware addresses, which otherwise follow the lowest of their ports'.

    netavark leaves them so: then a container that comes or goes changes the address under which the others know their gateway.
    """
    def pin() -> None:
        with netlink.Connection(netlink.ROUTE) as route:
            links = [rtnetlink.find_link(route, name) for name in bridges]
            route.run([rtnetlink.pin(link) for link in links if link is not None])

    if bridges:
        namespaces.inside(hostside.netns_of(runroot), pin)


def begin(config: ContainerConfig, joined: tuple[Joined, ...], netns: str, ports: tuple[PortMapping, ...], *,
          conf: ContainersConf, runroot: str, servers: tuple[str, ...] = ()) -> Pending:
    """Start netavark for these networks of a container whose namespace is there."""
    parents.check(joined, conf=conf, runroot=runroot)
    pending = Pending(config.id, joined, runroot)
    try:
        networks = [each.network.name for each in joined if dhcp.gives(each.network)]
        if networks:
            dhcp.prepare(networks, conf)
        pending.begin(netns, _request(config, joined, ports, servers), conf, runroot)
    except BaseException:
        pending.abandon()
        raise
    return pending


def down(container_id: str, netns: str, *, conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Undo what netavark did for the container, if it did anything; the failure that it told, if any. Idempotent."""
    failure = None
    for word in _WORDS:
        kept = _kept(word, container_id, runroot)
        if os.path.exists(kept):
            with dns.lock(runroot):
                failure = _tear_down(kept, netns, conf, runroot, only_begun=word == "begun")
    return failure


def join(config: ContainerConfig, joined: Joined, netns: str, ports: tuple[PortMapping, ...], *, conf: ContainersConf,
         runroot: str, servers: tuple[str, ...] = ()) -> NetworkStatus:
    """A running container joins one more network; nothing is left by a failure. What the network gave."""
    _finish_begun(config.id, netns, conf, runroot)
    try:
        return begin(config, (joined,), netns, ports, conf=conf, runroot=runroot, servers=servers).finish()[joined.network.name]
    except BaseException:
        _finish_begun(config.id, netns, conf, runroot)
        raise


def leave(container_id: str, network: str, netns: str, *, conf: ContainersConf, runroot: str) -> bool:
    """A running container leaves one network; False where netavark has not connected it to that. Idempotent."""
    kept = _kept("setup", container_id, runroot)
    with dns.lock(runroot):
        stored = _stored(kept)
        if stored is None or network not in stored["request"]["networks"]:
            return False
        request = stored["request"]
        only = {**request, "networks": {network: request["networks"].pop(network)},
                "network_info": {network: request["network_info"].pop(network)}}
        failure = _call("teardown", netns, only, conf, runroot)
        if failure is not None:
            raise failure
        if request["networks"]:
            files.write_atomic(kept, jsontext.dumps(stored).encode())
        else:
            os.unlink(kept)
    return True


def publishes(container_id: str, *, runroot: str) -> bool:
    """Whether ports lead to the container by netavark's rules."""
    stored = _stored(_kept("setup", container_id, runroot))
    return stored is not None and bool(stored["request"].get("port_mappings"))


def publish(container_id: str, ports: tuple[PortMapping, ...], netns: str, *, conf: ContainersConf, runroot: str) -> bool:
    """Ports lead to the container on the networks that netavark has connected it to; False where there are none.

    netavark cannot add ports alone: the interfaces are made anew, with the same addresses.
    """
    kept = _kept("setup", container_id, runroot)
    stored = _stored(kept)
    if stored is None:
        return False
    stored["request"]["port_mappings"] = _mappings(ports)
    files.write_atomic(kept, jsontext.dumps(stored).encode())
    return reload(container_id, netns, conf=conf, runroot=runroot)


def redefine(network: Network, *, runroot: str) -> None:
    """A network's definition has changed: running containers have the new one at the next reload, its name server at once."""
    with dns.lock(runroot):
        for name in os.listdir(f"{runroot}/networks"):
            stored = _stored(f"{runroot}/networks/{name}") if name.startswith("setup-") else None
            if stored is not None and network.name in stored["request"]["network_info"]:
                stored["request"]["network_info"][network.name] = to_json(network)
                files.write_atomic(f"{runroot}/networks/{name}", jsontext.dumps(stored).encode())
        dns.tell_servers(network, runroot=runroot)


def forget(container_id: str, *, runroot: str) -> None:
    """The namespace of bridges is gone, and with it all that was done for the container; idempotent."""
    for word in _WORDS:
        try:
            os.unlink(_kept(word, container_id, runroot))
        except FileNotFoundError:
            continue


def reload(container_id: str, netns: str, *, conf: ContainersConf, runroot: str) -> bool:
    """Do the firewall's part again after somebody has flushed it; False where netavark did nothing for this container."""
    kept = _kept("setup", container_id, runroot)
    if not os.path.exists(kept):
        return False
    request = jsontext.loads(files.read_bytes(kept))["request"]
    with dns.lock(runroot):
        _call("teardown", netns, request, conf, runroot)     # of what was flushed it finds nothing, and says so
        failure = _call("setup", netns, request, conf, runroot)
        _pin([network["network_interface"] for network in request["network_info"].values() if network["driver"] == "bridge"], runroot)
    if failure is not None:
        raise failure
    return True


def _kept(word: str, container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/{word}-{container_id}.json"


def _stored(kept: str) -> dict[str, Any] | None:
    try:
        stored: dict[str, Any] = jsontext.loads(files.read_bytes(kept))
    except FileNotFoundError:
        return None
    return stored


def _keep(begun: str, done: str, macs: dict[str, str]) -> None:
    """What was begun is done: it is kept, beside what was done for the container before.

    It names the hardware addresses that came of it, so that the interfaces have them again when they are made anew.
    """
    stored = jsontext.loads(files.read_bytes(begun))
    for name, mac in macs.items():
        stored["request"]["networks"][name]["static_mac"] = mac
    earlier = _stored(done)
    if earlier is not None and earlier["boot"] == stored["boot"]:
        for part in ("networks", "network_info"):
            stored["request"][part] = {**earlier["request"][part], **stored["request"][part]}
        if "port_mappings" in earlier["request"]:
            stored["request"]["port_mappings"] = earlier["request"]["port_mappings"]
    files.write_atomic(done, jsontext.dumps(stored).encode())
    os.unlink(begun)


def _finish_begun(container_id: str, netns: str, conf: ContainersConf, runroot: str) -> None:
    """What was begun for a running container and cut off is undone: its interface here, the host's side as ``down`` does it."""
    kept = _kept("begun", container_id, runroot)
    with dns.lock(runroot):
        stored = _stored(kept)
        if stored is None:
            return
        failure = _call("teardown", netns, stored["request"], conf, runroot)
        if failure is not None:
            log.debug(f"undoing what netavark has begun: {explain(failure)}")
        aside = f"{netns}-undone"
        try:
            _tear_down(kept, aside, conf, runroot, only_begun=True)
        finally:
            namespaces.delete(aside)


def _tear_down(kept: str, netns: str, conf: ContainersConf, runroot: str, *, only_begun: bool) -> PodlingError | None:
    try:
        stored = jsontext.loads(files.read_bytes(kept))
    except FileNotFoundError:
        return None
    failure = None
    if stored["boot"] == pids.boot_id():   # otherwise all of it went with the reboot
        if only_begun:
            namespaces.delete(netns)
        if not mounts.is_mounted(netns):        # the host's side is undone all the same
            namespaces.make(netns)
        for verb in ("setup", "teardown") if only_begun else ("teardown",):
            failure = _call(verb, netns, stored["request"], conf, runroot)
    os.unlink(kept)
    return failure


def _call(verb: str, netns: str, request: dict[str, Any], conf: ContainersConf, runroot: str) -> PodlingError | None:
    """Run netavark to its end; its failure, or None."""
    _prepare_dhcp(verb, netns, request, conf)
    with _netavark(verb, netns, request, conf, runroot) as child:
        output, errors = _drain(child)
        if _wait(child) == 0:
            return None
        return PodlingError(f"netavark: {_words(child.wait(), _parse(output), errors)}")


# --- the program ------------------------------------------------------------------------------------------------------


def _netavark(verb: str, netns: str, request: dict[str, Any], conf: ContainersConf, runroot: str) -> process.Child:
    program = find_helper("netavark", conf)
    dns.forget_dead(f"{runroot}/networks/aardvark-dns")
    host = hostside.netns_of(runroot)
    argv = [program, "--config", f"{runroot}/networks", "--rootless", "false", "--aardvark-binary",
            find_helper("aardvark-dns", conf, needed=False) or "aardvark-dns", verb, netns]
    env = {"PATH": search_path()}
    if conf.firewall_driver:
        env["NETAVARK_FW"] = conf.firewall_driver
    if conf.dns_bind_port:
        env["NETAVARK_DNS_PORT"] = str(conf.dns_bind_port)
    if host:
        env["XTABLES_LOCKFILE"] = f"{runroot}/networks/xtables.lock"      # the usual one is root's
    child = namespaces.inside(host, lambda: process.Child(argv, stdin=process.PIPE, stdout=process.PIPE, stderr=process.PIPE, env=env,
                                                          new_session=True))       # Ctrl-C is not for it
    try:
        files.write_all(child.stdin, jsontext.dumps(request).encode())
        child.close_stdin()
    except BaseException:
        child.close()
        child.kill()
        child.wait()
        raise
    return child


def _prepare_dhcp(verb: str, netns: str, request: dict[str, Any], conf: ContainersConf) -> None:
    """The proxy may have been killed; what ends is given back."""
    networks = [name for name, network in request["network_info"].items() if dhcp.gives(from_json(network))]
    if not networks:
        return
    try:
        dhcp.prepare(networks, conf)
    except PodlingError as error:
        log.debug(explain(error))                    # netavark says the same; whatever else there is to undo is undone
    for name in networks if verb == "teardown" else ():
        options = request["networks"][name]
        if options.get("static_mac"):
            dhcp.release(request["container_id"], options["static_mac"], options["interface_name"], netns)


def _wait(child: process.Child) -> int:
    """The exit status; of one that was killed the programs that it had started have ended too, and change nothing more."""
    status = child.wait(_SECONDS)
    if status < 0:
        pids.wait_session_gone(child.pid, _ORPHANS_SECONDS)
    return status


def _words(status: int, answer: dict[str, Any], errors: str) -> str:
    """Why it failed: as it says it, or by what it was killed."""
    return answer.get("error") or ("" if status < 0 else errors.strip()) or process.describe_status(status)


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


def _request(config: ContainerConfig, joined: tuple[Joined, ...], ports: tuple[PortMapping, ...],
             servers: tuple[str, ...]) -> dict[str, Any]:
    """What netavark is told, for set-up and teardown alike. ``servers``: whom aardvark-dns asks where the user named nobody."""
    options = {}
    for each in joined:
        attachment = each.attachment
        options[each.network.name] = {
            "static_ips": list(each.addresses), "interface_name": each.interface,
            "aliases": list(plan.aliases(config, attachment)),
            **({"static_mac": attachment.static_mac} if attachment.static_mac else {}),
            **({"options": attachment.options} if attachment.options else {})}
    request: dict[str, Any] = {
        "container_id": config.id, "container_name": config.name, "networks": options,
        "network_info": {each.network.name: to_json(each.network) for each in joined}}
    if ports:
        request["port_mappings"] = _mappings(ports)
    if asked := plan.name_servers(config, servers):
        request["dns_servers"] = list(asked)
    return request


def _mappings(ports: Iterable[PortMapping]) -> list[dict[str, Any]]:
    return [{"container_port": port.container_port, "host_ip": port.host_ip, "host_port": port.host_port, "protocol": port.protocol,
             "range": port.length} for port in ports]


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
