"""Mounts of a container: ``/a:/b:ro,Z`` and ``type=bind,src=/a,dst=/b`` <-> :class:`Mount`."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.values.gotext import quote
from podling.values.mounts.checks import (
    BAD_OPTION,
    check_memory,
    check_overlay,
    check_volume_name,
    checked,
    clean_destination,
    host_path,
    with_options,
)
from podling.values.mounts.fields import parse_mount
from podling.values.mounts.record import PROPAGATIONS, Mount, complete_options, format_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "PROPAGATIONS", "Mount", "check_volume_name", "clean_destination", "complete_options", "format_volume", "merge",
    "parse_mount", "parse_tmpfs", "parse_volume",
]

_VOLUME_FORMAT = "incorrect volume format, should be [host-dir:]ctr-dir[:option]"


def parse_volume(text: str, *, cwd: str = "") -> Mount:
    """One ``--volume``: ``/host:/ctr[:options]``, ``name:/ctr[:options]`` or ``/ctr`` (an anonymous volume).

    A source that begins with a slash or a dot is a path on the host; a relative one is taken from ``cwd``, and refused where
    there is none. Whether it exists is not looked at. InvalidArgument in Podman's words.
    """
    parts = text.split(":")
    if len(parts) > 3:
        raise InvalidArgument(f"{text}: {_VOLUME_FORMAT}")
    if len(parts) == 1:
        return Mount(kind="volume", destination=clean_destination(text))
    source, destination = parts[0], parts[1]
    options = checked(parts[2].split(",")) if len(parts) > 2 else []
    if not source:
        raise InvalidArgument("host directory cannot be empty")
    destination = clean_destination(destination)
    if source[0] in "/.":
        if "O" in options:
            check_overlay(options)
        mount = Mount(kind="bind", source=host_path(source, cwd), destination=destination)
    else:
        check_volume_name(source)
        mount = Mount(kind="volume", source=source, destination=destination)
    if "O" not in options and any(option.startswith(("upperdir=", "workdir=")) for option in options):
        raise InvalidArgument(f"unknown mount option {quote(_first_directory(options))}: {BAD_OPTION}")
    return with_options(mount, options)


def _first_directory(options: list[str]) -> str:
    return next(option for option in options if option.startswith(("upperdir=", "workdir=")))


def parse_tmpfs(text: str) -> Mount:
    """One ``--tmpfs``: ``/ctr[:options]``; InvalidArgument in Podman's words."""
    destination, colon, rest = text.partition(":")
    mount = Mount(kind="tmpfs", source="tmpfs", destination=clean_destination(destination))
    options = rest.split(":")[0].split(",") if colon else []
    check_memory(options)
    return with_options(mount, options)


def merge(*, volumes: Iterable[str] = (), mounts: Iterable[str] = (), tmpfs: Iterable[str] = (),
          image_volumes: Iterable[str] = (), cwd: str = "") -> tuple[Mount, ...]:
    """All ``--volume``, ``--mount`` and ``--tmpfs`` texts of a container, parsed, in this order, one for a destination.

    ``image_volumes`` are paths that an image declares; each becomes an anonymous volume where nothing else is mounted.
    InvalidArgument ("/b: duplicate mount destination") where two mounts with one destination differ.
    """
    decided: dict[str, Mount] = {}
    by_mount = [parse_mount(text, cwd=cwd) for text in mounts]
    for text in volumes:
        _add(decided, parse_volume(text, cwd=cwd))
    seen: set[str] = set()
    for mount in by_mount:
        if mount.kind == "glob":                 # its destinations are known when the paths are
            decided[f"{mount.source} {mount.destination}"] = mount
            continue
        if mount.destination in seen:
            raise InvalidArgument(f"{mount.destination}: duplicate mount destination")
        seen.add(mount.destination)
        _add(decided, mount)
    by_tmpfs: dict[str, Mount] = {}
    for text in tmpfs:
        _add(by_tmpfs, parse_tmpfs(text))
    for destination, mount in by_tmpfs.items():
        if decided.setdefault(destination, mount).kind != "tmpfs":
            raise InvalidArgument(f"{destination}: duplicate mount destination")
    for path in image_volumes:
        destination = clean_destination(path)
        decided.setdefault(destination, Mount(kind="volume", destination=destination))
    return tuple(decided.values())


def _add(decided: dict[str, Mount], mount: Mount) -> None:
    if decided.setdefault(mount.destination, mount) != mount:
        raise InvalidArgument(f"{mount.destination}: duplicate mount destination")
