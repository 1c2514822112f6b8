"""The record of a mount, and how it is shown."""

from __future__ import annotations

from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Mount(Record):
    """One mount asked for.

    ``kind``: bind, volume, tmpfs, ramfs, devpts, image, or glob, which stands for a bind mount of each path that matches the source, in
    the destination or, where that is "", at the same path. ``source``: a host path, a volume's name ("" for an anonymous
    volume), an image, or for the file systems without a source their kind. ``options`` are mount options in the order given
    (ro, rw, nosuid, rprivate, size=..., ...), without those that have a field of their own here.
    """

    kind: str
    destination: str
    source: str = ""
    options: tuple[str, ...] = ()
    relabel: str = ""            # "z" shared, "Z" private SELinux label
    chown: bool = False          # U
    idmap: str | None = None     # idmap option: "" for the container's own map, else its mappings
    overlay: bool = False        # O: a writable overlay that is thrown away
    copy_up: bool = True         # fill an empty volume or a tmpfs with the image's content (nocopy, notmpcopyup: False)
    subpath: str = ""
    read_write: bool = False     # image mounts: rw
    volume_options: tuple[str, ...] = ()   # "type=nfs", "o=addr=...": with what a volume is made that does not exist yet


PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
"""Mount propagations; at most one is said of a mount."""


def format_volume(mount: Mount) -> str:
    """The ``--volume`` text of a bind mount or volume, which :func:`parse_volume` reads back."""
    options = list(mount.options)
    options += [mount.relabel] if mount.relabel else []
    options += ["U"] if mount.chown else []
    options += [f"idmap={mount.idmap}" if mount.idmap else "idmap"] if mount.idmap is not None else []
    options += ["O"] if mount.overlay else []
    options += [] if mount.copy_up else ["nocopy"]
    if not mount.source:
        return mount.destination
    return ":".join([mount.source, mount.destination, *([",".join(options)] if options else [])])


def complete_options(mount: Mount, *, source_flags: Iterable[str] = ("nosuid", "nodev")) -> tuple[str, ...]:
    """The mount options that result, in the order of Podman's ``inspect`` (``Binds``, ``Tmpfs``): ``rw,rprivate,rbind``.

    ``source_flags`` are those of noexec, nosuid, nodev that a bind mount's source is mounted with; the default is that of
    volumes and tmpfs. Options with fields of their own (z, U, idmap, nocopy) are among them, as inspect shows them.
    """
    options = list(mount.options)
    options += [mount.relabel] if mount.relabel else []
    options += ["U"] if mount.chown else []
    options += [f"idmap={mount.idmap}" if mount.idmap else "idmap"] if mount.idmap is not None else []
    in_memory = mount.kind == "tmpfs"
    if not mount.copy_up and not in_memory:
        options.append("nocopy")
    said = set(options)
    options += [] if said & {"ro", "rw"} else ["rw"]
    options += [] if said & set(PROPAGATIONS) else ["private" if "bind" in said else "rprivate"]
    for flag in source_flags:
        options += [] if said & {flag, flag.removeprefix("no")} else [flag]
    if in_memory:
        options += ["tmpcopyup"] if mount.copy_up else []
    else:
        options += [] if said & {"bind", "rbind"} else ["rbind"]
    return tuple(options)
