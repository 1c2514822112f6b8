"""The network mode pasta: the container has this host's addresses, and pasta(1) carries its connections, as an ordinary user.

A pasta that knows no --map-guest-addr (before 2024-08) leaves a container with this host's only address no way to reach the host, so that
one is given an address of its own.

Options after ``pasta:`` are pasta's own, between commas, after those of containers.conf; what nobody said is as Podman has it. pasta
goes to the background once all is set up. It ends when the namespace's file goes, or by ``down``; its record is the pid that it wrote.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument, PodlingError
from podling.linux import files, process, rootless
from podling.model import NetworkStatus
from podling.network import companions, forward, namespaces
from podling.network.outward import local_addresses, outward_addresses
from podling.network.programs import find_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig
    from podling.values.ports import PortMapping

MODE = "pasta"
DNS = "169.254.1.1"                  # pasta answers there with the host's resolver
HOST = "169.254.1.2"                 # and there with the host, where it knows --map-guest-addr (2024-08)
_MAP_GUEST = "--map-guest-addr"
_SECONDS = 20.0
_ADDRESSING = ("-a", "--address", "-n", "--netmask", "-g", "--gateway", "-i", "--interface")
_OWN_ADDRESS = ("-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2")      # as with slirp4netns
# option -> the one that is meant, for those that change what we add ourselves
_SAID = {"-t": "-t", "--tcp-ports": "-t", "-u": "-u", "--udp-ports": "-u", "-T": "-T", "--tcp-ns": "-T", "-U": "-U", "--udp-ns": "-U",
         "--dns-forward": "--dns-forward", _MAP_GUEST: _MAP_GUEST, "-a": "-a", "--address": "-a"}


def arguments(asked: Iterable[str], ports: Iterable[PortMapping], *, maps_guest: bool) -> list[str]:
    """pasta's arguments but for the namespace. ``maps_guest``: this pasta knows --map-guest-addr."""
    words = ["--config-net", *(word for word in asked if word != "--map-gw")]
    said = _said(words)
    for port in ports:
        if port.protocol not in ("tcp", "udp"):
            raise InvalidArgument(f"can't forward protocol: {port.protocol}")
        flag = "-t" if port.protocol == "tcp" else "-u"
        said.setdefault(flag, [])
        more = port.length - 1
        ranges = f"{port.host_port}-{port.host_port + more}:{port.container_port}-{port.container_port + more}"
        words += [flag, f"{port.host_ip}/{ranges}" if port.host_ip else ranges]
    if "--dns-forward" not in said:
        words += ["--dns-forward", DNS]
    for flag in ("-t", "-u", "-T", "-U"):
        if flag not in said:
            words += [flag, "none"]
    if "--map-gw" not in asked:
        words.append("--no-map-gw")
    if maps_guest and _MAP_GUEST not in said:
        words += [_MAP_GUEST, HOST]
    return [*words, "--quiet"]


def _said(words: list[str]) -> dict[str, list[str]]:
    """Option -> its values, of those that matter here."""
    found: dict[str, list[str]] = {}
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in _SAID:
            found.setdefault(_SAID[name], []).append(value if equals else "".join(words[number + 1:number + 2]))
    return found


def reachable(asked: list[str], *, maps_guest: bool) -> list[str]:
    """The options, with an address for the container where it would otherwise have the only one by which this host is reached."""
    if maps_guest or any(word.partition("=")[0] in _ADDRESSING for word in asked) or {*local_addresses()} - {*outward_addresses()}:
        return asked
    return [*asked, *_OWN_ADDRESS]


def asked_of(config: ContainerConfig, conf: ContainersConf) -> list[str]:
    """containers.conf's options and the container's own."""
    return [*conf.pasta_options, *(config.net_ns.value.split(",") if config.net_ns.value else [])]


def status(asked: list[str], *, maps_guest: bool) -> NetworkStatus:
    """What the container will have: this host's addresses, unless others were asked for. ``gateways``: where it reaches the host."""
    said = _said(asked)
    own = tuple(said.get("-a", ())) or outward_addresses()
    servers = tuple(said.get("--dns-forward", ())) or (DNS,)
    return NetworkStatus(interface="", addresses=own, dns_servers=servers, gateways=_host(said, own, maps_guest=maps_guest))


def _host(said: dict[str, list[str]], own: tuple[str, ...], *, maps_guest: bool) -> tuple[str, ...]:
    """An address at which the container reaches this host: none of those that are its own as well."""
    if _MAP_GUEST in said:
        return tuple(said[_MAP_GUEST][:1])
    if maps_guest:
        return (HOST,)
    return tuple(address for address in local_addresses() if address not in own)[:1]


def knows_map_guest(program: str, cache: str) -> bool:
    """Whether this pasta knows --map-guest-addr; kept in ``cache`` for as long as the program stays the same."""
    seen = os.stat(program)
    key = f"{program}:{seen.st_mtime_ns}:{seen.st_size}"
    path = f"{cache}/pasta.json"
    try:
        kept = jsontext.loads(files.read_bytes(path, 1 << 12))
    except (FileNotFoundError, ValueError):
        kept = {}
    if isinstance(kept, dict) and kept.get("program") == key:
        return bool(kept.get("maps_guest"))
    done = process.run([program, "--help"], check=False, timeout=_SECONDS)
    found = _MAP_GUEST.encode() in done.stdout + done.stderr
    os.makedirs(cache, 0o700, exist_ok=True)
    files.write_atomic(path, jsontext.dumps({"program": key, "maps_guest": found}).encode())
    return found


class Program:
    """pasta while it starts, for the namespace at ``netns``; ``record`` gets its pid."""

    def __init__(self, program: str, words: list[str], netns: str, record: str) -> None:
        self._record = record
        os.makedirs(os.path.dirname(record), 0o700, exist_ok=True)
        argv = [program, *words, "--pid", record + ".pid", "--netns", netns]
        self._child: process.Child | None = process.Child(argv, stdout=process.PIPE, stderr=process.PIPE, cwd="/", new_session=True)

    def wait_ready(self) -> None:
        """Wait until it has gone to the background; PodlingError with its words."""
        assert self._child is not None
        status = self._child.wait(_SECONDS)
        if status:
            words = b"".join(_written(fd) for fd in (self._child.stdout, self._child.stderr)).decode(errors="replace").strip()
            raise PodlingError(f"pasta failed with exit code {status}:\n{words}")
        companions.remember(self._record, int(files.read_bytes(self._record + ".pid", 32)))

    def abandon(self) -> None:
        """Let go of the pipes. Idempotent."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _written(fd: int) -> bytes:
    """What is in a pipe; its other end may still be open in the background."""
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def end(record: str) -> None:
    """End a pasta, also one whose starter was killed before it could remember it; idempotent."""
    try:
        pid = int(files.read_bytes(record + ".pid", 32))
    except (FileNotFoundError, ValueError):
        pid = 0
    if pid and companions.find(record) is None and _is_ours(pid, record):
        companions.remember(record, pid)
    companions.end(record)
    if pid:
        os.unlink(record + ".pid")


def _is_ours(pid: int, record: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(record) in file.read(1 << 14)
    except (FileNotFoundError, ProcessLookupError):
        return False


class Pending:
    """pasta while it starts, for a container."""

    def __init__(self, planned: dict[str, NetworkStatus], program: Program) -> None:
        self.planned = planned
        self._program = program
        # by which the container reaches this host: not by an address that is its own as well
        self.host = next((gateway for status in planned.values() for gateway in status.gateways), "none")

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait until packets flow and ports are forwarded. PodlingError with pasta's words."""
        try:
            self._program.wait_ready()
        finally:
            self.abandon()
        return self.planned

    def abandon(self) -> None:
        """Let go of the pipes. Idempotent."""
        self._program.abandon()


def begin(config: ContainerConfig, netns: str, *, conf: ContainersConf, runroot: str,
          owner_of: Callable[[], dict[tuple[int, str], str]]) -> Pending:
    """Begin to connect the container; :func:`down` undoes what this and ``finish`` got to."""
    if rootless.owner() is None:
        raise InvalidArgument("pasta networking is only supported for rootless mode", hint="use --network bridge as root")
    program = find_helper(MODE, conf)
    maps_guest = knows_map_guest(program, f"{runroot}/networks")
    asked = reachable(asked_of(config, conf), maps_guest=maps_guest)
    words = arguments(asked, config.ports, maps_guest=maps_guest)
    forward.check(config.ports, owner_of=owner_of)
    namespaces.make(netns)
    return Pending({MODE: status(asked, maps_guest=maps_guest)}, Program(program, words, netns, _record(config.id, runroot)))


def down(config: ContainerConfig, *, runroot: str) -> None:
    """pasta has ended and nothing of it is left; idempotent."""
    end(_record(config.id, runroot))


def reload(config: ContainerConfig, netns: str, *, conf: ContainersConf, runroot: str) -> None:
    """Start pasta again for a running container, if it was killed."""
    if companions.find(_record(config.id, runroot)) is None:
        down(config, runroot=runroot)
        begin(config, netns, conf=conf, runroot=runroot, owner_of=dict).finish()


def _record(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/pasta-{container_id}"
