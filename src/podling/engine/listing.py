"""``ps``: containers with what they are doing, selected, counted and sorted. One query, whatever their number."""

from __future__ import annotations

import os

from podling.engine.select import apply_filters
from podling.errors import InvalidArgument, NoSuchContainer, NoSuchImage, PodlingError
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.engine.engine import Engine
    from podling.engine.options import ListOptions
    from podling.model import Container, ContainerState

SORT_KEYS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")
NAMESPACES = ("mnt", "cgroup", "ipc", "net", "pid", "user", "uts")    # kinds as in /proc


class Size(Record):
    """Bytes of a container's files: its own, and with the image's."""

    own: int
    with_image: int


class Listed:
    """One container of a list; ``size`` and ``namespaces`` (kind -> inode) are None where they were not asked for."""

    __slots__ = ("container", "namespaces", "size", "state")

    def __init__(self, container: Container, state: ContainerState, *, size: Size | None = None,
                 namespaces: dict[str, str] | None = None) -> None:
        self.container = container
        self.state = state
        self.size = size
        self.namespaces = namespaces


def list_containers(engine: Engine, options: ListOptions, *, sort: str = "created") -> list[Listed]:
    """The containers that the options ask for, sorted by one of SORT_KEYS; running ones where nothing else is asked for."""
    pairs = engine.containers.list_with_states()
    if options.latest or (options.last or 0) > 0:
        count = 1 if options.latest else options.last or 0
        pairs = apply_filters(engine, pairs, options.filters)[-count:]
    else:
        # as in Docker, asking for a status means asking among all
        if not options.all and "status" not in options.filters:
            pairs = [pair for pair in pairs if pair[1].status == "running"]
        pairs = apply_filters(engine, pairs, options.filters)
    found = [Listed(container, state) for container, state in pairs]
    if options.size:
        _measure(engine, found)
    if options.namespaces:
        for listed in found:
            listed.namespaces = _namespaces(listed.state.pid)
    if sort != "created":                        # the order of the query
        found.sort(key=_sort_key(sort))
    return found


def _measure(engine: Engine, found: list[Listed]) -> None:
    """The files' sizes; a container that another command removes meanwhile has none."""
    images: dict[str, int] = {}
    for listed in found:
        container = listed.container
        try:
            own = engine.filesystems.size(container.id)
            if container.image_id not in images:
                images[container.image_id] = engine.images.size(container.image_id) if container.image_id else 0
        except (NoSuchContainer, NoSuchImage, FileNotFoundError):
            continue
        listed.size = Size(own=own, with_image=own + images[container.image_id])


def _namespaces(pid: int) -> dict[str, str]:
    """The inodes of a process' namespaces, "" for all where there is no process."""
    found = {}
    for kind in NAMESPACES:
        try:
            found[kind] = os.readlink(f"/proc/{pid}/ns/{kind}").rpartition("[")[2].rstrip("]") if pid else ""
        except (FileNotFoundError, ProcessLookupError):
            found[kind] = ""
    return found


def _sort_key(name: str) -> Callable[[Listed], Any]:
    keys: dict[str, Callable[[Listed], Any]] = {
        "command": lambda listed: " ".join(listed.container.command),
        "id": lambda listed: listed.container.id,
        "image": lambda listed: listed.container.image_name,
        "names": lambda listed: listed.container.name,
        "runningfor": lambda listed: listed.state.started,
        "size": lambda listed: listed.size.own if listed.size else 0,
        "status": lambda listed: listed.state.status,
    }
    if name not in keys:
        raise InvalidArgument(f"invalid sort key {name}", hint=f"one of {', '.join(SORT_KEYS)}")
    return keys[name]


def check(options: ListOptions, *, quiet: bool, watch: bool) -> None:
    """Refuse options of ``ps`` that contradict each other, in Podman's words."""
    if options.latest and options.last is not None and options.last >= 0:
        raise PodlingError("last and latest are mutually exclusive")
    if quiet and (options.size or options.namespaces):
        raise PodlingError("quiet conflicts with size and namespace")
    if options.size and options.namespaces:
        raise PodlingError("size and namespace options conflict")
    if watch and options.latest:
        raise PodlingError("the watch and latest flags cannot be used together")
