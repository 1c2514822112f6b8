"""aardvark-dns while it runs: netavark starts it and tells it of containers; this tells it of a network's own servers.

What it knows of a network is a file, ``<runroot>/networks/aardvark-dns/<network>``: a line with the addresses where it listens and, after a
blank, the servers that it asks for other names; then a line a container. It reads all files again at SIGHUP.
"""

from __future__ import annotations

import os

from podling.linux import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import Network

PID_FILE = "aardvark.pid"


def tell_servers(network: Network, *, runroot: str) -> None:
    """The running server asks these servers for the network's containers. The caller holds netavark's lock."""
    directory = f"{runroot}/networks/aardvark-dns"
    path = f"{directory}/{network.name}"
    try:
        first, _, rest = files.read_bytes(path).decode().partition("\n")
    except FileNotFoundError:                            # nobody is on the network
        return
    listening = first.partition(" ")[0]
    line = f"{listening} {','.join(network.dns_servers)}".rstrip()
    files.write_atomic(path, f"{line}\n{rest}".encode(), 0o644)
    running = server(directory)
    if running is not None:
        process.kill(*running, process.SIGHUP)


def forget_dead(directory: str) -> None:
    """Where the server was killed its pid file goes: netavark would take whoever has that pid by now for it, and start none."""
    if server(directory) is None:
        try:
            os.unlink(f"{directory}/{PID_FILE}")
        except FileNotFoundError:
            pass  # it ended in order, or never ran


def server(directory: str) -> tuple[int, int] | None:
    """(pid, start time) of the server that uses this directory, None where it has ended."""
    try:
        pid = int(files.read_bytes(f"{directory}/{PID_FILE}", 32))
        start = process.start_time(pid)
        words = files.read_bytes(f"/proc/{pid}/cmdline", 1 << 14)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return (pid, start) if os.fsencode(directory) in words else None
