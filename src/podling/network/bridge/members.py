"""Who is on our own bridges: a file for each container and network, ``<runroot>/networks/bridges/<network>/<container id>``.

It has what taking down, reloading and counting need, and is written before anything is done. ``.definition`` beside it is the network as
the last one that left had it, for whoever sweeps up.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.linux import files, pids
from podling.linux.locks import Lock
from podling.model import Network
from podling.network import firewall
from podling.network.networks import from_json, to_json
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.linux.locks import Held

_DEFINITION = ".definition"


class Member(Record):
    """A container on a network. ``told``: its line for the name server, which listens ``names_at``; "" where the network has no names."""

    network: Network
    forwards: tuple[firewall.Forward, ...] = ()
    told: str = ""
    names_at: tuple[str, ...] = ()
    boot: str = ""


def lock(runroot: str) -> Held:
    """Held, for some milliseconds, by whoever sets up, takes down or sweeps."""
    os.makedirs(f"{runroot}/networks/bridges", 0o700, exist_ok=True)
    return Lock(f"{runroot}/networks/bridges.lock").exclusive()


def networks(runroot: str) -> list[str]:
    """The names of the networks that somebody is or was on."""
    try:
        return os.listdir(f"{runroot}/networks/bridges")
    except FileNotFoundError:
        return []


def of_network(runroot: str, network: str) -> list[str]:
    """The ids of the containers on a network."""
    try:
        return [name for name in os.listdir(_directory(runroot, network)) if not name.startswith(".")]
    except FileNotFoundError:
        return []


def networks_of(runroot: str, container_id: str) -> list[str]:
    """The names of the container's networks."""
    return [name for name in networks(runroot) if is_member(runroot, name, container_id)]


def is_member(runroot: str, network: str, container_id: str) -> bool:
    """Whether the container is on the network, wholly or in part."""
    return os.path.exists(_path(runroot, network, container_id))


def write(runroot: str, container_id: str, member: Member) -> None:
    """The container is on the network from now on."""
    path = _path(runroot, member.network.name, container_id)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    files.write_atomic(path, jsontext.dumps({
        "boot": member.boot or pids.boot_id(), "network": to_json(member.network),
        "told": member.told, "names_at": list(member.names_at),
        "forwards": [forward.to_json() for forward in member.forwards]}).encode())


def read(runroot: str, network: str, container_id: str) -> Member | None:
    """What is kept of the container, None where it is not on the network."""
    stored = _stored(_path(runroot, network, container_id))
    if stored is None:
        return None
    return Member(network=from_json(stored["network"]), told=stored.get("told", ""), names_at=tuple(stored.get("names_at", ())),
                  boot=stored["boot"], forwards=tuple(firewall.Forward.from_json(value) for value in stored["forwards"]))


def remove(runroot: str, container_id: str, network: Network) -> None:
    """The container is not on the network any more."""
    files.write_atomic(f"{_directory(runroot, network.name)}/{_DEFINITION}", jsontext.dumps(to_json(network)).encode())
    os.unlink(_path(runroot, network.name, container_id))


def left_by_all(runroot: str, network: str) -> Network | None:
    """The network as it was, if nobody is on it any more and it was not swept up yet."""
    stored = _stored(f"{_directory(runroot, network)}/{_DEFINITION}")
    return None if stored is None or of_network(runroot, network) else from_json(stored)


def forget(runroot: str, network: str) -> None:
    """The network is swept up."""
    files.remove_tree(_directory(runroot, network))


def _directory(runroot: str, network: str) -> str:
    return f"{runroot}/networks/bridges/{network}"


def _path(runroot: str, network: str, container_id: str) -> str:
    return f"{_directory(runroot, network)}/{container_id}"


def _stored(path: str) -> dict[str, Any] | None:
    try:
        value = jsontext.loads(files.read_bytes(path))
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None
