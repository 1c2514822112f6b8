"""Addresses by DHCP: netavark's proxy, which gets, renews and releases them (netavark 1.6 and newer).

The proxy listens at the socket that every netavark knows. systemd starts it by its socket unit; where it does not, we start it. It ends by
itself a while after its last lease. Before 1.17 it forgets a lease without a word to the server: so we give it back ourselves (RFC 2131,
3.1), as the proxy has written it down.
"""

from __future__ import annotations

import os
import time
from fcntl import ioctl

from podling import jsontext, log
from podling.errors import PodlingError, Unsupported
from podling.linux import files, process, rootless
from podling.linux.rtnetlink import bytes_of_mac
from podling.linux.syscalls import BYTE_ORDER
from podling.network import namespaces
from podling.network.programs import find_helper, search_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket

    from podling.config.containers import ContainersConf
    from podling.model import Network
else:
    import _socket  # `socket` takes 5 ms

SOCKET = "/run/podman/nv-proxy.sock"
_LEASES = "/run/podman/nv-proxy.lease"
_SECONDS = 5.0
_SENT_SECONDS = 1.0
_IDLE_SECONDS = 300          # without a lease: netavark's own default
_COOKIE, _RELEASE = b"\x63\x82\x53\x63", 7
_SIOCOUTQ = 0x5411           # bytes that are not sent yet


def gives(network: Network) -> bool:
    """Whether the network's addresses come by DHCP."""
    return network.ipam.get("driver") == "dhcp"


def prepare(networks: list[str], conf: ContainersConf) -> None:
    """The proxy listens; Unsupported, with the reason, where it cannot. Idempotent."""
    names = ", ".join(networks)
    if rootless.owner():
        raise Unsupported(f"network {names}: addresses by DHCP need root: an ordinary user's networks are apart from the host's interfaces",
                          hint="use a bridge network, or run it as root")
    program = find_helper("netavark", conf)
    if _answers():
        return
    if process.run([program, "dhcp-proxy", "--help"], check=False).status:
        version = process.run([program, "--version"], check=False).stdout.decode(errors="replace").strip()
        raise Unsupported(f"network {names}: addresses by DHCP need netavark 1.6 or newer: {program} is {version or 'an unknown version'}",
                          hint="create the network with --subnet, or install a newer netavark")
    _start(program)


def release(container_id: str, mac: str, interface: str, netns: str) -> None:
    """Give back the lease of a container's interface, which is still there; what cannot be given back ends with its time."""
    try:
        leases = jsontext.loads(files.read_bytes(_LEASES)).get(mac) or []
    except (OSError, ValueError, AttributeError) as error:
        log.debug(f"the leases of the DHCP proxy: {error}")
        return
    for lease in leases:
        if not lease.get("is_v6") and lease.get("srv_id") and lease.get("yiaddr"):
            try:
                messages = _releases(lease, mac, container_id)
                namespaces.inside(netns, lambda lease=lease, messages=messages: _send(lease, messages, interface))  # type: ignore[misc]
            except OSError as error:
                log.debug(f"releasing {lease['yiaddr']}: {error.strerror}")


def _releases(lease: dict[str, str], mac: str, container_id: str) -> list[bytes]:
    """The message for each name under which netavark's versions ask: the container's id, the hardware address. Servers know one of them."""
    hardware = bytes_of_mac(mac)
    ours, server = (_socket.inet_pton(_socket.AF_INET, lease[name]) for name in ("yiaddr", "srv_id"))
    head = bytes((1, 1, len(hardware), 0)) + os.urandom(4) + bytes(4) + ours + bytes(12) + hardware.ljust(16, b"\0") + bytes(192)
    return [head + _COOKIE + bytes((53, 1, _RELEASE, 54, 4)) + server + bytes((61, len(name))) + name + b"\xff"
            for name in (b"\0" + container_id.encode(), b"\1" + hardware)]


def _send(lease: dict[str, str], messages: list[bytes], interface: str) -> None:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, os.fsencode(interface))
        sock.bind((lease["yiaddr"], 68))
        for message in messages:
            sock.sendto(message, (lease["srv_id"], 67))
        deadline = time.monotonic() + _SENT_SECONDS
        while int.from_bytes(ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), BYTE_ORDER) and time.monotonic() < deadline:
            time.sleep(0.002)                        # until the server's hardware address is known, and all of it on the wire
    finally:
        sock.close()


def _start(program: str) -> None:
    os.makedirs(os.path.dirname(SOCKET), 0o755, exist_ok=True)
    scope = ["systemd-run", "-q", "--scope"] if os.path.isdir("/run/systemd/system") and process.find_program("systemd-run") else []
    pid = process.spawn([*scope, program, "dhcp-proxy", "--activity-timeout", str(_IDLE_SECONDS)],
                        env={"PATH": search_path()}, cwd="/", new_session=True)
    deadline = time.monotonic() + _SECONDS
    while not _answers():
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            why = process.describe_status(os.waitstatus_to_exitcode(status)) if ended else f"it does not listen after {_SECONDS:.0f} s"
            raise PodlingError(f"{program} dhcp-proxy does not start: {why}", hint="systemctl enable --now netavark-dhcp-proxy.socket")
        time.sleep(0.005)


def _answers() -> bool:
    """Whether somebody listens at the socket."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(SOCKET)
    except OSError:
        return False
    finally:
        sock.close()
    return True
