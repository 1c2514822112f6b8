"""The rootless network namespace: what the host is to root's bridges, this is to an ordinary user's.

Bridges, firewall rules and aardvark-dns of all the user's bridge networks are in it. It is made for the first container on a bridge,
joined to the host by slirp4netns or pasta (``default_rootless_network_cmd``), and ended with the last. Who uses it is written in
``<runroot>/networks/rootless-users``, a file for each container (its id) or process (pid and start time), so that it can be told at any
time, after any crash, whether anybody does.
"""

from __future__ import annotations

import os

from podling.errors import Unsupported
from podling.linux import files, mounts, pids, rootless, syscalls
from podling.linux.locks import Lock
from podling.network import companions, dns, namespaces, pasta, slirp, transparent
from podling.network.programs import find_helper
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.linux.locks import Held
    from podling.model import NetworkStatus

_FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/default/accept_dad")
_WANTED = (b"1", b"1", b"0")


class Joint(Record):
    """How the namespace is joined to the host. ``host``: "" where containers reach the host by the address it talks from, "none" where
    they do not, else by which address they do."""

    program: str
    dns_servers: tuple[str, ...]
    host: str = ""


class Pending:
    """The namespace while its program starts."""

    def __init__(self, netns: str, joint: Joint) -> None:
        self.netns = netns
        self.joint = joint
        self.host = joint.host
        self.program: slirp.Program | pasta.Program | None = None

    def finish(self) -> dict[str, NetworkStatus]:
        """Wait until packets flow; PodlingError with the program's words."""
        try:
            if self.program is not None:
                self.program.wait_ready()
        finally:
            self.abandon()
        return {}

    def abandon(self) -> None:
        """Let go of pipes; idempotent."""
        if self.program is not None:
            self.program.abandon()


def netns_of(runroot: str) -> str:
    """The namespace in which bridges are: "" for root, whose own it is."""
    return f"{runroot}/netns/rootless-netns" if rootless.owner() else ""


def begin(user: str, *, conf: ContainersConf, runroot: str) -> Pending:
    """The namespace is there and ``user`` (a container's id) uses it; what of it was killed is started again."""
    netns = netns_of(runroot)
    joint = _joint(conf, runroot)
    pending = Pending(netns, joint)
    with _lock(runroot):
        os.makedirs(_users(runroot), 0o700, exist_ok=True)         # now: whoever was last removes it
        os.close(os.open(f"{_users(runroot)}/{user}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            if not mounts.is_mounted(netns):
                _end_programs(runroot)
                namespaces.make(netns)
                namespaces.inside(netns, _allow_forwarding)
            if companions.find(_record(joint.program, runroot)) is None:
                _end_programs(runroot)
                pending.program = _start(joint, netns, conf, runroot)
        except BaseException:
            pending.abandon()
            raise
    return pending


def end_if_last(user: str, *, runroot: str) -> bool:
    """Whether nobody but ``user`` used the namespace: then it is gone, with all that was in it. Idempotent.

    Otherwise ``user`` goes on using it: what it has there must be undone, and then :func:`release` called.
    """
    if not os.path.isdir(_users(runroot)):
        return True
    with _lock(runroot):
        if set(_used(runroot)) <= {user} or not mounts.is_mounted(netns_of(runroot)):
            _end(runroot)
            return True
    return False


def release(user: str, *, runroot: str) -> None:
    """``user`` uses the namespace no more, and has nothing in it; with the last user it ends. Idempotent."""
    if not os.path.isdir(_users(runroot)):
        return
    with _lock(runroot):
        _forget(f"{_users(runroot)}/{user}")
        if not _used(runroot):
            _end(runroot)


def _end(runroot: str) -> None:
    _end_programs(runroot)
    dns.forget_all(runroot=runroot)
    namespaces.delete(netns_of(runroot))
    for path in (_tracks(runroot), _resolv_conf(runroot)):
        _forget(path)
    files.remove_tree(f"{runroot}/networks/bridges")          # what our driver has written of bridges that are gone now
    files.remove_tree(_users(runroot))


def keep_clients(runroot: str) -> bool:
    """Have clients of published ports keep their addresses in the namespace; False where they cannot."""
    with _lock(runroot):
        if not os.path.exists(_tracks(runroot)) and transparent.track(netns_of(runroot)):
            files.write_atomic(_tracks(runroot), b"")
        return os.path.exists(_tracks(runroot))


def enter(*, conf: ContainersConf, runroot: str) -> None:
    """This process enters the namespace, with a resolv.conf that works in it, and uses it until it ends, whatever it executes.

    It must be root in its user namespace, and gets a mount namespace of its own. :func:`leave` ends the use in time.
    """
    pid = os.getpid()
    pending = begin(f"process-{pid}-{pids.start_time(pid)}", conf=conf, runroot=runroot)
    pending.finish()
    fd = os.open(pending.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
    finally:
        os.close(fd)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    target = os.path.realpath("/etc/resolv.conf")
    if os.path.exists(target):
        path = _resolv_conf(runroot)
        files.write_atomic(path, "".join(f"nameserver {server}\n" for server in pending.joint.dns_servers).encode(), 0o644)
        mounts.bind(path, target)


def leave(pid: int, *, runroot: str) -> None:
    """The process ``pid``, which entered and has ended, uses the namespace no more."""
    for user in os.listdir(_users(runroot)) if os.path.isdir(_users(runroot)) else ():
        if user.startswith(f"process-{pid}-"):
            release(user, runroot=runroot)


# --- the program that joins it ----------------------------------------------------------------------------------------


def _joint(conf: ContainersConf, runroot: str) -> Joint:
    """What joins, by configuration; the other program where that one is not installed."""
    wanted = conf.default_rootless_network_cmd or slirp.MODE
    if wanted not in (slirp.MODE, pasta.MODE):
        raise Unsupported(f'invalid default_rootless_network_cmd option "{wanted}"', hint="it is slirp4netns or pasta")
    other = pasta.MODE if wanted == slirp.MODE else slirp.MODE
    if not _installed(wanted, conf) and _installed(other, conf):
        wanted = other
    if wanted == slirp.MODE:
        options = slirp.parse(conf.network_cmd_options)
        return Joint(program=wanted, dns_servers=(options.address(3),))
    asked, maps_guest = _asked(conf, runroot)
    status = pasta.status(asked, maps_guest=maps_guest)
    return Joint(program=wanted, dns_servers=status.dns_servers, host=next(iter(status.gateways), "none"))


def _installed(program: str, conf: ContainersConf) -> bool:
    if program == slirp.MODE and conf.network_cmd_path:
        return True
    return bool(find_helper(program, conf, needed=False))


def _start(joint: Joint, netns: str, conf: ContainersConf, runroot: str) -> slirp.Program | pasta.Program:
    record = _record(joint.program, runroot)
    if joint.program == slirp.MODE:
        return slirp.launch(slirp.parse(conf.network_cmd_options), netns, conf=conf, record=record)
    asked, maps_guest = _asked(conf, runroot)
    return pasta.Program(find_helper(pasta.MODE, conf), pasta.arguments(asked, (), maps_guest=maps_guest), netns, record)


def _asked(conf: ContainersConf, runroot: str) -> tuple[list[str], bool]:
    """pasta's options, and whether it knows --map-guest-addr."""
    maps_guest = pasta.knows_map_guest(find_helper(pasta.MODE, conf), f"{runroot}/networks")
    return pasta.reachable(list(conf.pasta_options), maps_guest=maps_guest), maps_guest


def _end_programs(runroot: str) -> None:
    companions.end(_record(slirp.MODE, runroot))
    pasta.end(_record(pasta.MODE, runroot))


def _allow_forwarding() -> None:
    for path, content in zip(_FORWARDING, _WANTED, strict=True):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:                 # without IPv6
            continue
        try:
            os.write(fd, content)
        finally:
            os.close(fd)


# --- who uses it ------------------------------------------------------------------------------------------------------


def _used(runroot: str) -> list[str]:
    """Who uses the namespace; processes that have ended are forgotten."""
    found = []
    for user in os.listdir(_users(runroot)) if os.path.isdir(_users(runroot)) else ():
        word, _, rest = user.partition("-")
        if word == "process":
            pid, _, start = rest.partition("-")
            if not pids.is_alive(int(pid), int(start)):
                _forget(f"{_users(runroot)}/{user}")
                continue
        found.append(user)
    return found


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _lock(runroot: str) -> Held:
    os.makedirs(f"{runroot}/networks", 0o700, exist_ok=True)
    return Lock(f"{runroot}/networks/rootless-lock").exclusive()


def _users(runroot: str) -> str:
    return f"{runroot}/networks/rootless-users"


def _tracks(runroot: str) -> str:
    return f"{runroot}/networks/rootless-tracks"


def _resolv_conf(runroot: str) -> str:
    return f"{runroot}/networks/rootless-resolv.conf"


def _record(program: str, runroot: str) -> str:
    return f"{runroot}/networks/rootless-{program}"
