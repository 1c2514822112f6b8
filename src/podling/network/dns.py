"""aardvark-dns, which resolves containers' names: what it is told, and that it runs while anybody is on a network with names.

What it knows of a network is a file, ``<runroot>/networks/aardvark-dns/<network>`` (``<network>%int`` for an internal one, whose containers
ask it for nothing but each other): a line with the addresses where it listens and, after a blank, the servers that it asks for other names;
then a line a container (``ID IPV4,... IPV6,... NAME,... [SERVER,...]``, ``src/config/mod.rs`` of aardvark-dns). It reads all files again at
SIGHUP, and 1.4 dies of one that is not whole: so they are made elsewhere and renamed into the directory, which netavark uses too, for the
networks that it drives. Whoever writes there holds the lock.

A server that is told of no network any more would end by itself, at some later time, and be taken for a living one until then. So it is not
told: whoever sweeps up kills it.
"""

from __future__ import annotations

import os

from podling import log
from podling.errors import InUse, PodlingError
from podling.linux import files, pids, process, rootless
from podling.linux.locks import Lock
from podling.network.programs import find_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable

    from podling.config.containers import ContainersConf
    from podling.linux.locks import Held
    from podling.model import Network
    from podling.network.plan import Joined
else:
    import _socket  # `socket` takes 5 ms

PID_FILE = "aardvark.pid"
PORT = 53
_PROGRAM = "aardvark-dns"
_INTERNAL = "%int"
_EADDRINUSE = 98
_HINT = ("see who has the port with 'ss -lunp sport = :53'; if it keeps it, set dns_bind_port under [network] in containers.conf, or "
         "create the network with --disable-dns")
_SECONDS = 10.0              # a start takes 3 ms, by systemd-run 30


def lock(runroot: str) -> Held:
    """The lock of netavark's and the name server's files."""
    os.makedirs(f"{runroot}/networks", 0o700, exist_ok=True)
    return Lock(f"{runroot}/networks/lock").exclusive()


def available(joined: tuple[Joined, ...], conf: ContainersConf) -> tuple[Joined, ...]:
    """The networks, those with names without them where aardvark-dns is not installed, which is told."""
    if not any(each.network.dns_enabled for each in joined) or find_helper(_PROGRAM, conf, needed=False):
        return joined
    named = ", ".join(each.network.name for each in joined if each.network.dns_enabled)
    log.warning(f"names of containers do not resolve on {named}: could not find {_PROGRAM!r} in one of "
                f"{', '.join(conf.helper_binaries_dir)} (install the package {_PROGRAM})")
    return tuple(each.replace(network=each.network.replace(dns_enabled=False)) for each in joined)


def listening(network: Network) -> tuple[str, ...]:
    """The addresses where the network's containers ask for names; none where it has no names."""
    return tuple(subnet.gateway for subnet in network.subnets if subnet.gateway) if network.dns_enabled else ()


def line(container_id: str, addresses: Iterable[str], names: Iterable[str], servers: Iterable[str]) -> str:
    """What the server is told of a container. ``servers``: whom it asks for other names instead of the host's."""
    addresses = tuple(addresses)
    of_version = [",".join(address for address in addresses if (":" in address) == version6) for version6 in (False, True)]
    return f"{container_id} {of_version[0]} {of_version[1]} {','.join(names)} {','.join(servers)}".rstrip()


# --- containers come and go -------------------------------------------------------------------------------------------


def add(network: Network, at: tuple[str, ...], told: str, *, conf: ContainersConf, runroot: str) -> None:
    """The server, started where it does not run, listens at these addresses and knows the container of this :func:`line`. Idempotent."""
    directory = _directory(runroot)
    os.makedirs(directory, 0o700, exist_ok=True)
    with lock(runroot):
        path = next((path for path in _paths(directory, network.name) if os.path.exists(path)),
                    f"{directory}/{network.name}{_INTERNAL if network.internal else ''}")
        _write(path, [_head(at, network), *_without(_lines(path)[1:], told.partition(" ")[0]), told])
        running = server(directory)
        if running is None or not pids.kill(*running, process.SIGHUP):
            _check_free(at, conf)
            _start(directory, conf)


def remove(network: str, container_id: str, *, runroot: str) -> None:
    """The server forgets the container, and where it was the network's last one, the network. Idempotent."""
    directory = _directory(runroot)
    paths = _paths(directory, network)
    if not any(os.path.exists(path) for path in paths):
        return
    with lock(runroot):
        for path in paths:
            lines = _lines(path)
            kept = _without(lines[1:], container_id)
            if kept and len(kept) < len(lines) - 1:
                _write(path, [lines[0], *kept])
            elif lines and not kept:
                os.unlink(path)
        running = server(directory)
        if running is not None and _told(directory):
            pids.kill(*running, process.SIGHUP)


def tell_servers(network: Network, *, runroot: str) -> None:
    """The running server asks these servers for the network's containers. The caller holds the lock."""
    directory = _directory(runroot)
    for path in _paths(directory, network.name):
        lines = _lines(path)
        if lines:                                            # somebody is on the network
            _write(path, [_head(lines[0].partition(" ")[0].split(","), network), *lines[1:]])
            running = server(directory)
            if running is not None:
                pids.kill(*running, process.SIGHUP)


def end_unused(*, runroot: str) -> None:
    """The server ends where it is told of nobody, and what a killed sweeper left of it goes; idempotent."""
    directory = _directory(runroot)
    if not os.path.exists(f"{directory}/{PID_FILE}") or _told(directory):
        return
    with lock(runroot):
        if not _told(directory):
            end(directory)


def end(directory: str) -> None:
    """The server has ended, and its address is free; idempotent."""
    running = server(directory)
    if running is not None:
        pids.kill(*running, process.SIGKILL)              # it has nothing to tidy up
        pids.wait_gone(*running, _SECONDS)
    forget_dead(directory)


def forget_dead(directory: str) -> None:
    """Where the server was killed its pid file goes: netavark would take whoever has that pid by now for it, and start none."""
    if server(directory) is None:
        _forget(f"{directory}/{PID_FILE}")


def forget_all(*, runroot: str) -> None:
    """The namespace where the server runs is ending: so does it, and what it was told is forgotten."""
    directory = _directory(runroot)
    if os.path.isdir(directory):
        end(directory)
        for name in os.listdir(directory):
            _forget(f"{directory}/{name}")


def server(directory: str) -> tuple[int, int] | None:
    """(pid, start time) of the server that uses this directory, None where it has ended."""
    try:
        pid = int(files.read_bytes(f"{directory}/{PID_FILE}", 32))
        start = pids.start_time(pid)
        words = files.read_bytes(f"/proc/{pid}/cmdline", 1 << 14)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return (pid, start) if os.fsencode(directory) in words else None


# --- the program ------------------------------------------------------------------------------------------------------


def _start(directory: str, conf: ContainersConf) -> None:
    """Start the server; it is in the background, and has its pid file, when this returns. PodlingError in its words."""
    argv = [find_helper(_PROGRAM, conf), "--config", directory, "-p", str(conf.dns_bind_port or PORT), "run"]
    forget_dead(directory)
    for scope in _scopes():
        status, words = _run([*scope, *argv])
        if status == 0 and server(directory) is not None:
            return
        log.debug(f"starting {_PROGRAM}: {process.describe_status(status)}: {words}")
    raise PodlingError(f"{_PROGRAM} does not start: {words or process.describe_status(status)}", hint=_HINT)


def _check_free(at: tuple[str, ...], conf: ContainersConf) -> None:
    """InUse where another name server has the port: aardvark-dns 1.4 would say nothing and answer nobody."""
    port = conf.dns_bind_port or PORT
    for address in at:
        sock = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno == _EADDRINUSE:
                raise InUse(f"{_PROGRAM} cannot listen at {address} port {port}/udp: {str(error.strerror).lower()}", hint=_HINT) from None
        finally:
            sock.close()


def _scopes() -> list[list[str]]:
    """What to start it with, in the order of trial: on a host with systemd in a scope of its own, so that it does not end with
    the service or login from which its first container was started."""
    found: list[list[str]] = [[]]
    if os.path.isdir("/run/systemd/system") and process.find_program("systemd-run"):
        found.insert(0, ["systemd-run", "-q", "--scope", *(["--user"] if rootless.owner() else [])])
    return found


def _run(argv: list[str]) -> tuple[int, str]:
    """(status, last words) of a program that puts itself into the background, where it keeps its standard streams."""
    words = os.memfd_create(_PROGRAM, os.MFD_CLOEXEC)
    try:
        kept = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
        pid = process.spawn(argv, stderr=words, env={name: os.environ[name] for name in kept if name in os.environ}, cwd="/",
                            new_session=True)
        status = process.wait(pid, _SECONDS)
        return status, os.pread(words, 1 << 12, 0).decode(errors="replace").strip()
    except TimeoutError:
        os.kill(pid, process.SIGKILL)
        return process.wait(pid), f"it took more than {_SECONDS:.0f} s"
    finally:
        os.close(words)


# --- its files --------------------------------------------------------------------------------------------------------


def _directory(runroot: str) -> str:
    return f"{runroot}/networks/aardvark-dns"


def _paths(directory: str, network: str) -> tuple[str, str]:
    """Where the server is told of a network; it is one of them."""
    return f"{directory}/{network}", f"{directory}/{network}{_INTERNAL}"


def _told(directory: str) -> bool:
    """Whether the server is told of any network."""
    return any(name != PID_FILE for name in os.listdir(directory))


def _head(at: Iterable[str], network: Network) -> str:
    return f"{','.join(at)} {','.join(network.dns_servers)}".rstrip()


def _without(lines: list[str], container_id: str) -> list[str]:
    return [each for each in lines if not each.startswith(f"{container_id} ")]


def _lines(path: str) -> list[str]:
    try:
        return files.read_bytes(path).decode("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return []


def _write(path: str, lines: list[str]) -> None:
    directory, name = os.path.split(path)
    aside = f"{os.path.dirname(directory)}/.names-{name}"    # the caller holds the lock
    files.write_atomic(aside, "".join(f"{each}\n" for each in lines).encode("utf-8", "surrogateescape"), 0o644)
    os.rename(aside, path)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
