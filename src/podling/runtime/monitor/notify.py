"""Telling systemd how a unit gets on: the sd_notify protocol, for units of ``Type=notify`` that start a container.

``--sdnotify=container``: conmon hands on what the container's program says to a socket of its own. ``conmon``: it is ready
once it runs. In both conmon is the unit's main process. ``ignore``: nobody hears of it.
"""

from __future__ import annotations

import os

from podling import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import ContainerConfig

VARIABLE = "NOTIFY_SOCKET"


def arguments(config: ContainerConfig) -> list[str]:
    """What conmon is told."""
    socket = os.environ.get(VARIABLE)
    return ["--sdnotify-socket", socket] if socket and config.sd_notify == "container" else []


def make_directory(config: ContainerConfig, bundle: str, owner: tuple[int, int]) -> str:
    """Where conmon will listen for what the container says, the container's root being its owner; "" where nobody wants to know."""
    if not arguments(config):
        return ""
    path = f"{bundle}/notify"
    os.makedirs(path, 0o755, exist_ok=True)
    os.chown(path, *owner)
    return path


def started(config: ContainerConfig, conmon_pid: int) -> None:
    """The container runs."""
    if config.sd_notify != "ignore":
        _say(f"MAINPID={conmon_pid}" + ("\nREADY=1" if config.sd_notify == "conmon" else ""))


def _say(text: str) -> None:
    """One datagram to the socket; a manager that does not listen is no reason to fail."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    import _socket  # socket itself takes 5 ms to import

    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sender.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning(f"notifying {address}: {error.strerror}")
    finally:
        sender.close()
