"""``cp``: files between a container and the host, or another container, or a tar stream.

Everything moves as a tar: the one that reads it (``tar_tree``) follows no links, the one that writes it (``unpack_plain``)
opens every directory by itself. What the user's paths mean is resolved beneath the container's root by the kernel, so that a
container's links lead nowhere else. In a running container paths are what its processes see, volumes included; in a stopped
one a path into a volume is looked up in the volume.
"""

from __future__ import annotations

import os

from podling.engine import idmaps, volumes
from podling.engine.commit import reader
from podling.engine.rootfs import RootFilesystem, inside_fd
from podling.errors import InvalidArgument, NoSuchContainer, NotFound, PodlingError
from podling.linux.files import open_beneath, write_all
from podling.record import Record
from podling.runtime import users
from podling.store.archive.extract import UnpackOptions
from podling.store.archive.unpack import unpack_plain
from podling.store.archive.writer import TarOptions, tar_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from podling.engine.engine import Engine
    from podling.engine.idmaps import Translation
    from podling.model import Container
    from podling.values.mounts import Mount

STREAM = "-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class CopyOptions(Record):
    """``archive``: files get the owner of where they go, else they keep theirs. ``overwrite``: a file may take the place of
    a directory and the other way round."""

    archive: bool = True
    overwrite: bool = False


class End:
    """One end of a copy: a container's tree, or the host's. A context manager; ``root`` is a descriptor of its root."""

    def __init__(self, engine: Engine, container: Container | None, path: str) -> None:
        self.engine = engine
        self.container = container
        self.said = path
        self.root = -1
        self._mounted: RootFilesystem | None = None
        self.inwards: Translation | None = None      # of ids seen here to those of the container, and back; None: they are the same
        self.outwards: Translation | None = None

    def __enter__(self) -> End:
        if self.container is None:
            self.path = os.path.abspath(self.said) + ("/." if self.said.endswith(("/", "/.")) or self.said == "." else "")
            self.root = os.open("/", _DIRECTORY | os.O_CLOEXEC)
            return self
        config = self.engine.containers.config(self.container.id)
        self.inwards, self.outwards = idmaps.to_inside(config), idmaps.to_outside(config)
        self.path = self.said if self.said.startswith("/") else f"{config.working_dir.rstrip('/')}/{self.said}"
        inside = inside_fd(self.engine, self.container)
        if inside is not None:
            self.root = inside
            return self
        self._mounted = RootFilesystem(self.engine, self.container)
        self.root = os.dup(self._mounted.__enter__())
        self._enter_volume(config.mounts)
        return self

    def _enter_volume(self, mounts: tuple[Mount, ...]) -> None:
        """Where the path of a stopped container leads into a volume or a bind mount, that is the root."""
        clean = os.path.normpath(self.path)
        for mount in sorted(mounts, key=lambda mount: -len(mount.destination)):
            if mount.kind not in ("volume", "bind") or not f"{clean}/".startswith(mount.destination.rstrip("/") + "/"):
                continue
            source = volumes.get_exactly(self.engine, mount.source).mountpoint if mount.kind == "volume" else mount.source
            if os.path.isdir(source):
                os.close(self.root)
                self.root = os.open(source, _DIRECTORY | os.O_CLOEXEC)
                end = "/." if self.path.endswith(("/", "/.")) else ""
                self.path = f"/{clean[len(mount.destination.rstrip('/')):].lstrip('/')}{end}"
            return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.root)
        if self._mounted is not None:
            self._mounted.__exit__(kind, error, trace)

    @property
    def where(self) -> str:
        """What errors call the place."""
        return "on the host" if self.container is None else f"on container {self.container.name}"

    def missing(self) -> NotFound:
        """The error for a path that is not there."""
        return NotFound(f'"{self.said}" could not be found {self.where}: no such file or directory')

    def owner(self) -> tuple[int, int]:
        """Who owns what comes here, by this end's own ids: the container's user, or who calls."""
        if self.container is None:
            return os.geteuid(), os.getegid()
        config = self.engine.containers.config(self.container.id)
        with RootFilesystem(self.engine, self.container) as fd:
            user = users.lookup(users.Accounts(f"/proc/self/fd/{fd}"), config.user)
        return user.uid, user.gid

    def stat(self) -> os.stat_result | None:
        """What is at the path, links followed; None where nothing is."""
        try:
            fd = open_beneath(self.root, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def directory(self, path: str) -> int:
        """A descriptor of a directory here; NotFound where there is none."""
        try:
            return open_beneath(self.root, path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise self.missing() from None


def parse_end(text: str) -> tuple[str, str]:
    """(container, path) of ``CONTAINER:PATH``; ("", path) of the host's, which may begin with ``./`` to hold a colon."""
    if text.startswith(("/", ".")) or text == STREAM:
        return "", text
    container, colon, path = text.partition(":")
    return (container, path) if colon else ("", text)


def copy(engine: Engine, source: str, destination: str, options: CopyOptions) -> None:
    """Copy between two ends, at least one of which is a container's."""
    (from_name, from_path), (to_name, to_path) = parse_end(source), parse_end(destination)
    if not from_name and not to_name:
        raise InvalidArgument("name or ID cannot be empty")
    if not from_path or not to_path:
        raise InvalidArgument("invalid arguments: you must specify one container path and one host path")
    origin, target = _container(engine, from_name), _container(engine, to_name)
    if target is None and to_path == STREAM:
        with End(engine, origin, from_path) as end:
            _to_stream(end)
    elif origin is None and from_path == STREAM:
        with End(engine, target, to_path) as end:
            _from_stream(end)
    else:
        with End(engine, origin, from_path) as start, End(engine, target, to_path) as end:
            _between(start, end, options)


def _container(engine: Engine, name: str) -> Container | None:
    if not name:
        return None
    try:
        return engine.containers.find(name)
    except NoSuchContainer:
        raise NoSuchContainer(f'container "{name}" does not exist') from None


def _is_directory(status: os.stat_result | None) -> bool:
    return status is not None and status.st_mode & 0o170000 == 0o040000


# --- streams ----------------------------------------------------------------------------------------------------------


def _to_stream(end: End) -> None:
    status = end.stat()
    if status is None:
        raise end.missing()
    name = "" if end.path.endswith("/.") else os.path.basename(end.path.rstrip("/"))
    for chunk in _tar(end, status, name, TarOptions(ids=end.inwards)):
        write_all(1, chunk)


def _from_stream(end: End) -> None:
    if not _is_directory(end.stat()):
        raise InvalidArgument("destination must be a directory when copying from stdin")
    fd = end.directory(end.path)
    try:
        unpack_plain(lambda size: os.read(0, size), fd, UnpackOptions(whiteouts=False, ids=end.outwards))
    finally:
        os.close(fd)


# --- files ------------------------------------------------------------------------------------------------------------


def _between(start: End, end: End, options: CopyOptions) -> None:
    found = start.stat()
    if found is None:
        raise start.missing()
    there = end.stat()
    parent, name = _target(start, end, found, there)
    fd = end.directory(parent)
    try:
        if not options.overwrite:
            _check_kinds(start, found, fd, name)
        tar = _tar(start, found, name, TarOptions(owner=end.owner() if options.archive else None, ids=start.inwards))
        unpack_plain(reader(tar), fd, UnpackOptions(whiteouts=False, ids=end.outwards))
    finally:
        os.close(fd)


def _target(start: End, end: End, found: os.stat_result, there: os.stat_result | None) -> tuple[str, str]:
    """(directory that gets it, its name there or "" for the content of the source)."""
    if _is_directory(there):
        if _is_directory(found) and start.path.endswith("/."):
            return end.path, ""
        return end.path, os.path.basename(start.path.rstrip("/."))
    if there is None and end.path.endswith(("/", "/.")) and not _is_directory(found):
        raise end.missing()
    if there is not None and _is_directory(found):
        raise InvalidArgument("destination must be a directory when copying a directory")
    parent, name = os.path.split(end.path.removesuffix(".").rstrip("/"))
    return parent or "/", name


def _tar(end: End, status: os.stat_result, name: str, options: TarOptions) -> Iterator[bytes]:
    """The file or directory at the end's path under another name, or a directory's content ("")."""
    if _is_directory(status):
        fd = end.directory(end.path)
        try:
            yield from tar_tree(fd, options, name=name or None)
        finally:
            os.close(fd)
        return
    parent, last = _resolved(end)
    try:
        yield from tar_tree(parent, options, start=last, name=name)
    finally:
        os.close(parent)


def _resolved(end: End) -> tuple[int, str]:
    """(descriptor of the directory, name) of the file that the path means, links followed."""
    fd = open_beneath(end.root, end.path, os.O_PATH)
    try:
        wanted = os.fstat(fd)
        path = _path_below(end)
    finally:
        os.close(fd)
    parent_path, last = os.path.split(path)
    parent = open_beneath(end.root, parent_path, _DIRECTORY)
    if not os.path.samestat(wanted, os.stat(last, dir_fd=parent, follow_symlinks=False)):
        os.close(parent)
        raise PodlingError(f"{end.said} was changed while it was copied")
    return parent, last


def _path_below(end: End) -> str:
    """The path that the end's path means, without links, by walking its links ourselves beneath that root."""
    path = end.path
    for _ in range(255):
        parent_path, last = os.path.split(os.path.normpath(path))
        parent = open_beneath(end.root, parent_path or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            text = os.readlink(last, dir_fd=parent)
        except OSError:
            return os.path.join(parent_path, last)
        finally:
            os.close(parent)
        path = text if text.startswith("/") else os.path.join(parent_path, text)
    raise PodlingError(f"{end.said}: too many levels of symbolic links")


def _check_kinds(start: End, found: os.stat_result, target: int, name: str) -> None:
    """InvalidArgument where a directory would take the place of a file or the other way round, at any depth."""
    if not _is_directory(found):
        _check_one(target, name, is_directory=False)
        return
    fd = start.directory(start.path)
    try:
        if name and not _check_one(target, name, is_directory=True):
            return
        for directory, names, others, _ in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            base = os.path.normpath(os.path.join(name, directory))
            for inner, is_directory in ((*((inner, True) for inner in names), *((inner, False) for inner in others))):
                _check_one(target, os.path.normpath(os.path.join(base, inner)), is_directory=is_directory)
    finally:
        os.close(fd)


def _check_one(target: int, path: str, *, is_directory: bool) -> bool:
    """Whether something is there already; it must be of the same kind."""
    try:
        there = open_beneath(target, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        if _is_directory(os.fstat(there)) != is_directory:
            kinds = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
            raise InvalidArgument(f"cannot overwrite {kinds[1]} {path} with a {kinds[0]}", hint="use --overwrite")
    finally:
        os.close(there)
    return True
