"""The network mode slirp4netns: a TAP device in the container's namespace, and a program that speaks TCP/IP for it as an ordinary user.

It is started as Podman starts it. It ends with the container's conmon, whose lifeline is its exit descriptor, or by ``down``. Ports
are published by our forwarder (``port_handler=rootlesskit``, the default, Podman's name for its own) or by slirp4netns itself, which
is told over its API socket (``port_handler=slirp4netns``).
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument, PodlingError
from podling.linux import process
from podling.model import NetworkStatus
from podling.network import companions, forward, namespaces
from podling.network.addresses import format_address, parse_address, parse_subnet
from podling.network.outward import outward_addresses
from podling.network.programs import find_helper
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig
    from podling.values.ports import PortMapping
else:
    import _socket

MODE = "slirp4netns"
_DEVICE = "tap0"
_CIDR = "10.0.2.0/24"
_MTU = 65520
_SECONDS = 10.0
_ANSWER_LIMIT = 1 << 16
_NO_DAD = "/proc/sys/net/ipv6/conf/default/accept_dad"


class Options(Record):
    """What may be said after ``slirp4netns:``."""

    allow_host_loopback: bool = False
    cidr: str = _CIDR
    enable_ipv6: bool = True
    port_handler: str = "rootlesskit"
    outbound_addr: str = ""
    outbound_addr6: str = ""
    mtu: int = _MTU

    def address(self, number: int) -> str:
        """An address of the network: 2 is the host, 3 the name server, 100 the container."""
        return format_address(parse_subnet(self.cidr).first + number, 4)


# --- options ----------------------------------------------------------------------------------------------------------


def parse(texts: Iterable[str]) -> Options:
    """The options of ``name=value`` words, later ones counting more; InvalidArgument in Podman's words."""
    found = Options()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in _PARSERS:
            raise InvalidArgument(f'unknown option for slirp4netns: "{text}"', hint=f"known are {', '.join(sorted(_PARSERS))}")
        found = found.replace(**{name: _PARSERS[name](name, value)})
    return found


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidArgument(f'invalid value of {name} for slirp4netns: "{value}"')
    return value == "true"


def _cidr(name: str, value: str) -> str:
    try:
        address, _, prefix = value.partition("/")
        if parse_address(address)[1] == 4 and prefix.isdecimal() and int(prefix) <= 32:
            if int(prefix) > 25:
                raise InvalidArgument(f'invalid {name} "{value}": slirp4netns needs a prefix of at most 25 bits')
            return value
    except InvalidArgument as error:
        if "slirp4netns" in error.message:
            raise
    raise InvalidArgument(f'invalid {name} "{value}"')


def _port_handler(name: str, value: str) -> str:
    if value not in ("rootlesskit", "slirp4netns"):
        raise InvalidArgument(f'unknown {name} for slirp4netns: "{value}"')
    return value


def _outbound(name: str, value: str) -> str:
    """An address of the version that the name says, or an interface of this host."""
    version = 6 if name.endswith("6") else 4
    try:
        good = parse_address(value)[1] == version
    except InvalidArgument:
        good = bool(value) and "/" not in value and os.path.exists(f"/sys/class/net/{value}")
    if not good:
        raise InvalidArgument(f'invalid {name}{":" if version == 6 else ""} "{value}"')
    return value


def _mtu(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or not 68 <= int(value) <= 65521:
        raise InvalidArgument(f'invalid {name} "{value}"')
    return int(value)


_PARSERS: dict[str, Callable[[str, str], object]] = {
    "allow_host_loopback": _flag, "cidr": _cidr, "enable_ipv6": _flag, "port_handler": _port_handler, "outbound_addr": _outbound,
    "outbound_addr6": _outbound, "mtu": _mtu}


def options_of(config: ContainerConfig, conf: ContainersConf) -> Options:
    """containers.conf's options and over them the container's own."""
    own = config.net_ns.value.split(",") if config.net_ns.value else []
    return parse([*conf.network_cmd_options, *own])


def arguments(options: Options, netns: str, *, ready: int, life: int, api: str = "", sandbox: bool = True) -> list[str]:
    """slirp4netns's arguments; ``life`` -1: it does not end with anything."""
    words = [] if options.allow_host_loopback else ["--disable-host-loopback"]
    words.append(f"--mtu={options.mtu}")
    if sandbox:
        words.append("--enable-sandbox")
    words.append("--enable-seccomp")
    if options.cidr != _CIDR:
        words.append(f"--cidr={options.cidr}")
    if options.enable_ipv6:
        words.append("--enable-ipv6")
    for name, value in (("outbound-addr", options.outbound_addr), ("outbound-addr6", options.outbound_addr6)):
        if value:
            words.append(f"--{name}={value}")
    if api:
        words += ["--api-socket", api]
    words += ["-c", "-r", str(ready)]
    if life >= 0:
        words += ["-e", str(life)]
    return [*words, "--netns-type=path", netns, _DEVICE]


# --- up and down ------------------------------------------------------------------------------------------------------


class Pending:
    """slirp4netns, and the forwarder, while they start. ``keep``: descriptors for conmon alone."""

    def __init__(self, config: ContainerConfig, options: Options) -> None:
        self._config, self._options = config, options
        self.planned: dict[str, NetworkStatus] = {}
        self.lifeline: companions.Lifeline | None = None
        self.listening: forward.Listening | None = None
        self.forwarding: forward.Forwarding | None = None
        self.program: Program | None = None
        self.api = ""

    @property
    def host(self) -> str:
        """An address by which the container reaches this host, "" for the one that the host talks from."""
        if self._options.allow_host_loopback and not outward_addresses():
            return self._options.address(2)
        return ""

    @property
    def keep(self) -> tuple[int, ...]:
        """What conmon holds for as long as it lives."""
        return (self.lifeline.far,) if self.lifeline is not None else ()

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait until packets flow and ports are forwarded. PodlingError with slirp4netns's words."""
        try:
            if self.program is not None:
                self.program.wait_ready()
            if self.forwarding is not None:
                self.forwarding.finish()
            if self.api:
                for port in self._config.ports:
                    _expose(self.api, port, self._options.address(100))
        finally:
            self.abandon()
        return self.planned

    def abandon(self) -> None:
        """Let go of pipes and sockets; idempotent."""
        for part in (self.lifeline, self.listening):
            if part is not None:
                part.close()
        for started in (self.program, self.forwarding):
            if started is not None:
                started.abandon()


class Program:
    """slirp4netns while it starts."""

    def __init__(self, argv: list[str], ready: int, *, record: str, pass_fds: Iterable[int]) -> None:
        self._ready = ready
        self._child: process.Child | None = process.Child(argv, stdout=None, stderr=process.PIPE, cwd="/", new_session=True,
                                                          pass_fds=pass_fds)
        companions.remember(record, self._child.pid)

    def wait_ready(self) -> None:
        """Wait until the device is there."""
        assert self._child is not None
        companions.wait_ready(self._child, self._ready, MODE, _SECONDS)

    def abandon(self) -> None:
        """Let go of the pipes; it goes on. Idempotent."""
        if self._child is not None:
            self._child.close()
            os.close(self._ready)
            self._child = None


def launch(options: Options, netns: str, *, conf: ContainersConf, record: str, life: int = -1, api: str = "") -> Program:
    """Start slirp4netns for the namespace at ``netns``."""
    program = conf.network_cmd_path or find_helper(MODE, conf)
    if options.enable_ipv6:
        _no_duplicate_detection(netns)
    ready, theirs = os.pipe()
    try:
        argv = [program, *arguments(options, netns, ready=theirs, life=life, api=api, sandbox=not conf.no_pivot_root)]
        passed = [theirs, *([life] if life >= 0 else [])]
        # Its sandbox unmounts everything without cutting the propagation below the root (1.2.0): in a namespace apart, or the host's
        # mounts go too.
        return namespaces.apart(lambda: Program(argv, ready, record=record, pass_fds=passed))
    except BaseException:
        os.close(ready)
        raise
    finally:
        os.close(theirs)


def _no_duplicate_detection(netns: str) -> None:
    """The device's IPv6 address is usable at once: nobody else is on its wire."""
    def act() -> None:
        try:
            fd = os.open(_NO_DAD, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:                 # a host without IPv6
            return
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)

    namespaces.inside(netns, act)


def begin(config: ContainerConfig, netns: str, *, conf: ContainersConf, runroot: str,
          owner_of: Callable[[], dict[tuple[int, str], str]]) -> Pending:
    """Begin to connect the container; :func:`down` undoes what this and ``finish`` got to."""
    options = options_of(config, conf)
    pending = Pending(config, options)
    try:
        if config.ports and options.port_handler == "rootlesskit":
            pending.listening = forward.Listening(config.ports, owner_of=owner_of)
        else:
            forward.check(config.ports, owner_of=owner_of)
        namespaces.make(netns)
        pending.lifeline = companions.Lifeline(config.id, runroot)
        pending.planned = {MODE: status(options)}
        _start(pending, config, netns, conf, runroot)
    except BaseException:
        pending.abandon()
        raise
    return pending


def _start(pending: Pending, config: ContainerConfig, netns: str, conf: ContainersConf, runroot: str) -> None:
    options, lifeline = pending._options, pending.lifeline
    assert lifeline is not None
    if config.ports and options.port_handler == MODE:
        pending.api = _api(config.id, runroot)
    pending.program = launch(options, netns, conf=conf, record=_record(config.id, runroot), life=lifeline.near, api=pending.api)
    if pending.listening is not None:
        pending.forwarding = forward.begin(config.id, pending.listening, [options.address(100)], netns=netns, runroot=runroot,
                                           life=lifeline.near, near=[options.cidr])


def status(options: Options) -> NetworkStatus:
    """The container's side: never shown by ``inspect``, as nobody outside can use it, but written into its files."""
    prefix = parse_subnet(options.cidr).prefix
    return NetworkStatus(interface=_DEVICE, addresses=(f"{options.address(100)}/{prefix}",), dns_servers=(options.address(3),))


def down(config: ContainerConfig, *, runroot: str) -> None:
    """Both programs have ended and nothing of them is left; idempotent."""
    forward.down(config.id, runroot)
    companions.end(_record(config.id, runroot))
    companions.remove_lifeline(config.id, runroot)
    _unlink_api(config.id, runroot)


def _unlink_api(container_id: str, runroot: str) -> None:
    try:
        os.unlink(_api(container_id, runroot))
    except FileNotFoundError:
        return


def reload(config: ContainerConfig, netns: str, *, conf: ContainersConf, runroot: str) -> None:
    """Start again, for a running container, what was killed: slirp4netns, the forwarder."""
    options = options_of(config, conf)
    pending = Pending(config, options)
    try:
        pending.lifeline = companions.Lifeline(config.id, runroot, running=True)
        if companions.find(_record(config.id, runroot)) is None:
            _unlink_api(config.id, runroot)
            _start(pending, config, netns, conf, runroot)
        if config.ports and options.port_handler == "rootlesskit":
            forward.reload(config.id, config.ports, runroot=runroot, life=pending.lifeline.near)
        pending.finish()
    finally:
        pending.abandon()


def _record(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/slirp4netns-{container_id}"


def _api(container_id: str, runroot: str) -> str:
    return f"{runroot}/networks/slirp-{container_id[:32]}.sock"        # a socket's path has at most 107 bytes


# --- ports by slirp4netns itself --------------------------------------------------------------------------------------


def _expose(api: str, port: PortMapping, address: str) -> None:
    """Have slirp4netns listen on the host's ports of one mapping."""
    if port.protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"slirp4netns cannot forward {port.protocol} ports")
    for number in range(port.length):
        answer = _ask(api, {"execute": "add_hostfwd", "arguments": {
            "proto": port.protocol, "host_addr": port.host_ip or "0.0.0.0", "host_port": port.host_port + number,
            "guest_addr": address, "guest_port": port.container_port + number}})
        if "error" in answer:
            what = (answer["error"] or {}).get("desc", "") if isinstance(answer["error"], dict) else answer["error"]
            raise PodlingError(f"from slirp4netns while setting up port redirection: {what}: "
                               f"{port.host_ip or '0.0.0.0'}:{port.host_port + number}/{port.protocol}")


def _ask(api: str, request: dict[str, Any]) -> dict[str, Any]:
    """One question, one connection, one answer."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(_SECONDS)
        sock.connect(api)
        sock.sendall(jsontext.dumps(request).encode())
        sock.shutdown(_socket.SHUT_WR)
        text = _receive(sock)
    except OSError as error:
        raise PodlingError("cannot open connection to slirp4netns") from error
    finally:
        sock.close()
    try:
        answer = jsontext.loads(text)
    except ValueError:
        raise PodlingError(f"slirp4netns answered {text[:200]!r}") from None
    return answer if isinstance(answer, dict) else {}


def _receive(sock: _socket.socket) -> bytes:
    text = b""
    while len(text) < _ANSWER_LIMIT and (data := sock.recv(1 << 14)):
        text += data
    return text
