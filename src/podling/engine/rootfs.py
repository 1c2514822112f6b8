"""A container's root file system, reached from outside: where it is mounted, or mounted for as long as somebody needs it."""

from __future__ import annotations

import os

from podling.engine.engine import Engine
from podling.engine.roots import is_up, mount_root
from podling.errors import InUse, NotFound
from podling.linux import mounts, pids
from podling.linux.files import read_text, write_atomic
from podling.model import Container, ContainerConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_RUNNING = ("running", "paused", "stopping")


class RootFilesystem:
    """``with RootFilesystem(engine, container) as fd:`` -- a descriptor of the root directory, as it is seen from the host.

    A container that is not up is mounted meanwhile. Whatever is done through the descriptor stays possible if the container
    starts or is removed beside.
    """

    def __init__(self, engine: Engine, container: Container) -> None:
        self.engine = engine
        self.config = engine.containers.config(container.id)
        self.path = ""
        self.fd = -1

    def __enter__(self) -> int:
        with self.engine.lock("container", self.config.id).exclusive():
            self.path = mount_root(self.engine, self.config)
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self.fd

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)
        _unmount_unused(self.engine, self.config)


def _unmount_unused(engine: Engine, config: ContainerConfig) -> None:
    """Unmount what neither the container's run nor ``podling mount`` needs; a container that is gone has nothing."""
    with engine.lock("container", config.id).exclusive() as held:
        if engine.database.row("SELECT 1 FROM containers WHERE id = ?", config.id) is None:
            held.remove()
        elif not is_up(engine, config.id) and not is_kept(engine, config.id):
            engine.filesystems.unmount(config.id)


def inside_fd(engine: Engine, container: Container) -> int | None:
    """A descriptor of a running container's root with its volumes, as its processes see it; None where it does not run."""
    state = engine.containers.state(container.id)
    if state.status not in _RUNNING:
        return None
    return os.open(f"/proc/{state.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


# --- podling mount ----------------------------------------------------------------------------------------------------


def _mark(engine: Engine, container_id: str) -> str:
    return f"{engine.paths.container(container_id)}/mounted"


def is_kept(engine: Engine, container_id: str) -> bool:
    """Whether a user has mounted the container since the host started."""
    try:
        return read_text(_mark(engine, container_id)) == pids.boot_id()
    except FileNotFoundError:
        return False


def mount(engine: Engine, container: Container) -> str:
    """Mount the container's root file system until :func:`unmount`; where."""
    config = engine.containers.config(container.id)
    with engine.lock("container", container.id).exclusive():
        place = mount_root(engine, config)
        if not config.rootfs:
            write_atomic(_mark(engine, container.id), pids.boot_id().encode())
    return place


def mounted(engine: Engine) -> list[tuple[Container, str]]:
    """The containers whose root file system is mounted, each with the place."""
    found = []
    for container in engine.containers.all():
        place = engine.filesystems.places(container.id).merged
        if mounts.is_mounted(place) or (engine.filesystems.driver == "vfs" and is_kept(engine, container.id)):
            found.append((container, place))
    return found


def unmount(engine: Engine, container: Container, *, force: bool = False) -> bool:
    """Unmount what a user mounted; a running container keeps its own mount. False where nothing was mounted.

    ``force``: also where the container has ended without a clean-up.
    """
    config = engine.containers.config(container.id)
    was = is_kept(engine, container.id) or mounts.is_mounted(engine.filesystems.places(container.id).merged)
    with engine.lock("container", container.id).exclusive():
        if os.path.exists(_mark(engine, container.id)):
            os.unlink(_mark(engine, container.id))
    if force and engine.containers.state(container.id).status not in _RUNNING:
        engine.filesystems.unmount(container.id)
    else:
        _unmount_unused(engine, config)
    return was


# --- podling image mount ----------------------------------------------------------------------------------------------


class ImageMounts:
    """Images that a user has mounted: ``<graphroot>/mounted/containers/<image id>``, with a count of mounts beside."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.filesystems = engine.filesystems_in(f"{engine.paths.graphroot}/mounted")

    def mounted(self) -> list[tuple[str, str]]:
        """(image id, place) of each that is mounted."""
        try:
            names = sorted(os.listdir(f"{self.filesystems.graphroot}/containers"))
        except FileNotFoundError:
            return []
        return [(name, self.filesystems.places(name).merged) for name in names if self._count(name)]

    def _count(self, image_id: str) -> int:
        try:
            boot, _, count = read_text(f"{self.filesystems.directory(image_id)}/count").partition(" ")
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return int(count) if boot == pids.boot_id() else 0

    def mount(self, image_id: str, store: str = "") -> str:
        """Mount an image, read-only; where. Each call counts."""
        with self.engine.lock("image", image_id).exclusive():
            count = self._count(image_id)
            if not os.path.isdir(self.filesystems.directory(image_id)):
                self.filesystems.make(image_id)
            place = self.filesystems.mount(image_id, self.engine.images.layer_directories(image_id, store), read_only=True)
            write_atomic(f"{self.filesystems.directory(image_id)}/count", f"{pids.boot_id()} {count + 1}".encode())
        return place

    def unmount(self, image_id: str, *, force: bool = False) -> None:
        """Take one mount back, or with ``force`` all; NotFound where the image is not mounted."""
        with self.engine.lock("image", image_id).exclusive():
            count = self._count(image_id)
            if not count:
                raise NotFound(f"image {image_id} is not mounted")
            if count > 1 and not force:
                write_atomic(f"{self.filesystems.directory(image_id)}/count", f"{pids.boot_id()} {count - 1}".encode())
            else:
                self.filesystems.remove(image_id)

    def check_unused(self, image_id: str) -> None:
        """InUse where the image is mounted."""
        if self._count(image_id):
            raise InUse(f"image {image_id} is mounted at {self.filesystems.places(image_id).merged}",
                        hint=f"podling image unmount {image_id[:12]}")
