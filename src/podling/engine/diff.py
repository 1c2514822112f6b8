"""``diff``: what a container changed in its image, what an image's last layer changed, or how two trees differ.

A container's changes are told from its upper directory alone: whiteouts are deletions, what no lower directory has is new.
"""

from __future__ import annotations

import os

from podling.engine import idmaps
from podling.engine.engine import Engine
from podling.errors import NoSuchImage, NotFound
from podling.record import Record
from podling.store.stack import is_opaque, lookup, merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from podling.engine.idmaps import Translation
    from podling.model import Container, Image

_KIND, _DIR, _CHR = 0o170000, 0o040000, 0o020000
# Mount points and files that the engine puts into every container, and so into what is committed of it. Podman leaves them out, too.
_ENGINE_PATHS = frozenset(("/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/run", "/run/.containerenv",
                           "/run/notify", "/run/secrets", "/sys"))


class Change(Record):
    """``kind``: C (changed), A (added) or D (deleted)."""

    kind: str
    path: str


def diff(engine: Engine, name: str, other: str = "", *, kind: str = "all") -> list[Change]:
    """The changes of a container or image (``kind``: all, container, image) over what it is built on, or over ``other``."""
    subject = _find(engine, name, kind)
    if other:
        base = _find(engine, other, kind)
        owners = {**_owners(engine, base), **_owners(engine, subject)}
        return _sorted(_with_parents(_between(_stack(engine, base), _stack(engine, subject), owners)))
    upper, lowers = _parts(engine, subject)
    if engine.filesystems.driver == "vfs" and subject[0] is not None:
        return _sorted(_with_parents(_between(lowers, upper, _owners(engine, subject))))
    return _sorted(_layer_changes(upper[0], lowers) if upper else ())


Subject = tuple["Container | None", "Image | None"]


def _find(engine: Engine, name: str, kind: str) -> Subject:
    if kind in ("all", "container"):
        try:
            return engine.containers.find(name), None
        except NotFound:
            if kind == "container":
                raise NotFound(f"{name} not found: container not known") from None
    image = engine.images.lookup(name)
    if image is None:
        raise NoSuchImage(f"{name} not found: {name}: image not known" if kind == "image" else f"{name} not found: layer not known")
    return None, image


def _parts(engine: Engine, subject: Subject) -> tuple[list[str], list[str]]:
    """(the topmost directory, as a list that may be empty; those below it, topmost first)."""
    container, image = subject
    if container is not None:
        config = engine.containers.config(container.id)
        places = engine.filesystems.places(container.id)
        upper = places.merged if engine.filesystems.driver == "vfs" else places.upper
        if config.rootfs:
            return ([upper] if os.path.isdir(upper) else []), [config.rootfs.removesuffix(":O")]
        lowers = engine.images.layer_directories(config.image_id, config.image_store)
        return ([upper] if os.path.isdir(upper) else []), lowers
    assert image is not None
    directories = engine.images.layer_directories(image.id, image.store)
    return directories[:1], directories[1:]


def _stack(engine: Engine, subject: Subject) -> list[str]:
    upper, lowers = _parts(engine, subject)
    return upper if upper and engine.filesystems.driver == "vfs" and subject[0] is not None else upper + lowers


def _owners(engine: Engine, subject: Subject) -> dict[str, Translation]:
    """Directory -> what gives the container's owners for those of the files in it, where they are not the same."""
    container, _ = subject
    ids = idmaps.to_inside(engine.containers.config(container.id)) if container is not None else None
    return {engine.filesystems.directory(container.id) + "/": ids} if container is not None and ids is not None else {}


def _sorted(changes: Iterator[Change] | Sequence[Change]) -> list[Change]:
    return sorted((change for change in changes if change.path not in _ENGINE_PATHS), key=lambda change: change.path)


# --- one layer over others --------------------------------------------------------------------------------------------


def _layer_changes(upper: str, lowers: Sequence[str]) -> Iterator[Change]:
    """What an overlay directory changes in those below it."""
    todo: list[tuple[str, list[str], bool]] = [("", list(lowers), False)]
    while todo:
        path, below, fresh = todo.pop()
        for name in os.listdir(f"{upper}{path}"):
            inner = f"{path}/{name}"
            place = f"{upper}{inner}"
            status = os.lstat(place)
            old = [] if fresh else lookup(below, name)
            if status.st_mode & _KIND == _CHR and status.st_rdev == 0:
                if old:
                    yield Change(kind="D", path=inner)
                continue
            is_directory = status.st_mode & _KIND == _DIR
            opaque = is_directory and is_opaque(place)
            if opaque and old:
                yield Change(kind="D", path=inner)
            elif not old:
                yield Change(kind="A", path=inner)
            elif not is_directory or not _same_directory(status, old[0]) or _has_new(place, old):
                yield Change(kind="C", path=inner)
            if is_directory:
                todo.append((inner, old, fresh or opaque or not old))


def _same_directory(status: os.stat_result, old: str) -> bool:
    """Whether a directory is only there because of what it holds."""
    before = os.lstat(old)
    return before.st_mode == status.st_mode and before.st_mtime_ns == status.st_mtime_ns


def _has_new(place: str, old: Sequence[str]) -> bool:
    """Whether anything but directories changed right in a directory, which counts as a change of it, as in Podman."""
    with os.scandir(place) as entries:
        return any(not entry.is_dir(follow_symlinks=False) or not lookup(old, entry.name) for entry in entries)


# --- any two trees ----------------------------------------------------------------------------------------------------


def _between(base: Sequence[str], now: Sequence[str], owners: Mapping[str, Translation]) -> Iterator[Change]:
    """How a tree of directories (topmost first) differs from another; what both have in common is not looked into.

    ``owners``: as :func:`_owners`.
    """
    todo: list[tuple[str, list[str], list[str]]] = [("", list(base), list(now))]
    while todo:
        path, before, after = todo.pop()
        old, new = merged(before), merged(after)
        for name in old.keys() - new.keys():
            yield Change(kind="D", path=f"{path}/{name}")
        for name, parts in new.items():
            inner = f"{path}/{name}"
            known = old.get(name, [])
            if known == parts:
                continue
            status = os.lstat(parts[0])
            is_directory = status.st_mode & _KIND == _DIR
            if not known:
                yield Change(kind="A", path=inner)
            elif _differs(os.lstat(known[0]), status) or _owner(known[0], owners) != _owner(parts[0], owners):
                yield Change(kind="C", path=inner)
            if is_directory:
                todo.append((inner, known if known and os.path.isdir(known[0]) and not os.path.islink(known[0]) else [], parts))


def _with_parents(changes: Iterator[Change]) -> list[Change]:
    """The changes, and as changed each directory that both trees have and in which something is another, as Podman says it."""
    found = {change.path: change for change in changes}
    for path in list(found):
        while path := path.rpartition("/")[0]:
            found.setdefault(path, Change(kind="C", path=path))
    return list(found.values())


def _differs(old: os.stat_result, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_rdev) != (new.st_mode, new.st_rdev):
        return True
    return new.st_mode & _KIND != _DIR and (old.st_size, old.st_mtime_ns) != (new.st_size, new.st_mtime_ns)


def _owner(path: str, owners: Mapping[str, Translation]) -> tuple[int, int]:
    status = os.lstat(path)
    for directory, ids in owners.items():
        if path.startswith(directory):
            return ids(status.st_uid, status.st_gid)
    return status.st_uid, status.st_gid
