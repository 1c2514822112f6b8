"""Mounts of a container: ``/a:/b:ro,Z`` and ``type=bind,src=/a,dst=/b`` <-> :class:`Mount`."""

from __future__ import annotations

from podling.record import Record


class Mount(Record):
    """One mount asked for.

    ``kind``: bind, volume, tmpfs, ramfs, devpts, image. ``source``: a host path, a volume's name ("" for an anonymous
    volume) or an image. ``options`` are mount options in the order given (ro, rw, nosuid, rprivate, size=..., ...),
    without those that have a field of their own here.
    """

    kind: str
    destination: str
    source: str = ""
    options: tuple[str, ...] = ()
    relabel: str = ""            # "z" shared, "Z" private SELinux label
    chown: bool = False          # U
    idmap: str | None = None     # idmap option: "" for the container's own map, else its mappings
    overlay: bool = False        # O: a writable overlay that is thrown away
    copy_up: bool = True         # fill an empty volume with the image's content (nocopy: False)
    subpath: str = ""
    read_write: bool = False     # image mounts: rw
