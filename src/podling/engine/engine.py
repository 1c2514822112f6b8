"""The engine: where everything is, and what the operations share. Opening it costs about a millisecond."""

from __future__ import annotations

import binascii
import os

from podling.config import containers as containers_conf
from podling.config import storage as storage_conf
from podling.database import Database
from podling.engine.options import GlobalOptions
from podling.errors import InvalidArgument
from podling.linux import rootless
from podling.linux.locks import Lock
from podling.record import Record
from podling.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.config.storage import StorageConf
    from podling.network.networks import Networks
    from podling.store.images import Images
    from podling.store.overlay import ContainerFilesystems

PODMAN_GRAPHROOT = "/var/lib/containers/storage"
PODMAN_RUNROOT = "/run/containers/storage"
GRAPHROOT = "/var/lib/containers/podling"    # beside Podman's, so that each can remove its own without harm
RUNROOT = "/run/containers/podling"


class Paths(Record):
    """Where things are. All are functions of the two roots, so that any process finds them again."""

    graphroot: str
    runroot: str

    @property
    def database(self) -> str:
        """The SQLite file."""
        return self.graphroot + "/podling.db"

    @property
    def volumes(self) -> str:
        """Where volumes are."""
        return self.graphroot + "/volumes"

    @property
    def cache(self) -> str:
        """What may be deleted at any time."""
        return self.graphroot + "/cache"

    @property
    def exits(self) -> str:
        """conmon's exit files."""
        return self.runroot + "/exits"

    @property
    def locks(self) -> str:
        """Kernel lock files."""
        return self.runroot + "/locks"

    def container(self, container_id: str) -> str:
        """What must outlive a reboot of one container: upper directory, log."""
        return f"{self.graphroot}/containers/{container_id}"

    def run(self, container_id: str) -> str:
        """What dies with a reboot of one container: bundle, pid files, shm, files for /etc."""
        return f"{self.runroot}/containers/{container_id}"


class Engine:
    """An open engine; safe to use from one thread at a time, each thread opens its own."""

    def __init__(self, options: GlobalOptions, *, conf: ContainersConf, storage: StorageConf, paths: Paths) -> None:
        self.options = options
        self.conf = conf
        self.storage = storage
        self.paths = paths
        self.owner = rootless.owner()            # the ordinary user whose engine this is, None for root's
        os.makedirs(paths.graphroot, 0o700, exist_ok=True)
        os.makedirs(paths.locks, 0o700, exist_ok=True)
        self.database = Database(paths.database)
        self.containers = Containers(self.database, paths.exits)
        self._images: Images | None = None
        self._filesystems: ContainerFilesystems | None = None
        self._networks: Networks | None = None

    @property
    def rootless(self) -> bool:
        """Whether this is an ordinary user's engine."""
        return self.owner is not None

    @property
    def images(self) -> Images:
        """The image store."""
        if self._images is None:
            from podling.store import open_images

            self._images = open_images(self.database, self.paths.graphroot, self.paths.runroot,
                                       self.storage.additional_image_stores)
        return self._images

    @property
    def filesystems(self) -> ContainerFilesystems:
        """The containers' root file systems."""
        if self._filesystems is None:
            from podling.store.overlay import ContainerFilesystems

            self._filesystems = ContainerFilesystems(self.paths.graphroot, driver=self.storage.driver,
                                                     mount_options=self.storage.mount_options)
        return self._filesystems

    @property
    def networks(self) -> Networks:
        """The networks' definitions."""
        if self._networks is None:
            from podling.network.networks import Networks

            self._networks = Networks(self.options.network_config_dir or self.conf.network_config_dir, self.conf)
        return self._networks

    def lock(self, kind: str, name: str) -> Lock:
        """The kernel lock of one object."""
        return Lock(f"{self.paths.locks}/{kind}-{name}")

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_engine(options: GlobalOptions) -> Engine:
    """The engine that the options and the configuration files describe."""
    rootless = os.geteuid() != 0
    home = os.environ.get("HOME", "/")
    cache = "/run/containers/podling-cache" if not rootless else ""
    conf = containers_conf.load(os.environ, rootless=rootless, home=home, cache=cache)
    storage = storage_conf.load(os.environ, rootless=rootless, home=home, cache=cache)
    graphroot = os.path.abspath(options.root) if options.root else _own(storage.graphroot, PODMAN_GRAPHROOT, GRAPHROOT)
    runroot = os.path.abspath(options.runroot) if options.runroot else _own(storage.runroot, PODMAN_RUNROOT, RUNROOT)
    if options.root and not options.runroot and graphroot != GRAPHROOT:
        runroot = f"{runroot}-{binascii.crc32(graphroot.encode()):08x}"   # two stores never share what is running
    paths = Paths(graphroot=graphroot, runroot=runroot)
    return Engine(options, conf=conf, storage=storage, paths=paths)


def _own(configured: str, podman: str, ours: str) -> str:
    """Our root for one in storage.conf: never Podman's own directory."""
    if not configured or configured == podman:
        return ours
    if not configured.startswith("/"):
        raise InvalidArgument(f"storage.conf: {configured!r} is not an absolute path")
    return configured.rstrip("/") + "/podling"
