"""The engine: where everything is, and what the operations share. Opening it costs about a millisecond."""

from __future__ import annotations

import binascii
import os

from podling.config import containers as containers_conf
from podling.config import storage as storage_conf
from podling.database import Database
from podling.engine.globals import GlobalOptions
from podling.errors import InvalidArgument
from podling.linux import rootless, userns
from podling.linux.files import read_text
from podling.linux.locks import Lock
from podling.record import Record
from podling.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.config.storage import StorageConf
    from podling.linux.rootless import Owner
    from podling.network.networks import Networks
    from podling.store.images import Images
    from podling.store.layers import UnpackRules
    from podling.store.overlay import ContainerFilesystems, Driver

PODMAN_GRAPHROOT = "/var/lib/containers/storage"
PODMAN_RUNROOT = "/run/containers/storage"
GRAPHROOT = "/var/lib/containers/podling"    # beside Podman's, so that each can remove its own without harm
RUNROOT = "/run/containers/podling"


class Paths(Record):
    """Where things are. All are functions of the two roots, so that any process finds them again."""

    graphroot: str
    runroot: str
    volume_path: str = ""                    # "": below the graph root

    @property
    def database(self) -> str:
        """The SQLite file."""
        return self.graphroot + "/podling.db"

    @property
    def volumes(self) -> str:
        """Where volumes are."""
        return self.volume_path or self.graphroot + "/volumes"

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
        self.joined = False                      # this process was outside of the user's namespaces before
        os.makedirs(paths.graphroot, 0o700, exist_ok=True)
        os.makedirs(paths.locks, 0o700, exist_ok=True)
        os.environ["PODLING_RUN_DIRECTORIES"] = f"{paths.runroot}/containers"    # for the programs that the monitor starts
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
    def in_user_namespace(self) -> bool:
        """Whether root here is not the machine's: an ordinary user, or the root of a container."""
        return self.rootless or not userns.is_initial(userns.uid_map())

    @property
    def images(self) -> Images:
        """The image store."""
        if self._images is None:
            from podling.store import open_images

            self._images = open_images(self.database, self.paths.graphroot, self.paths.runroot,
                                       self.storage.additional_image_stores, rules=self._unpack_rules())
        return self._images

    @property
    def filesystems(self) -> ContainerFilesystems:
        """The containers' root file systems."""
        if self._filesystems is None:
            self._filesystems = self.filesystems_in(self.paths.graphroot)
        return self._filesystems

    def filesystems_in(self, directory: str) -> ContainerFilesystems:
        """Root file systems as the containers', kept in this directory."""
        from podling.store.overlay import ContainerFilesystems

        driver = self._driver()
        return ContainerFilesystems(directory, driver=driver.name, mount_options=self.storage.mount_options,
                                    userxattr=driver.userxattr, mount_program=driver.mount_program)

    def _driver(self) -> Driver:
        """How root file systems are made: as configured, and within a user namespace what works there."""
        from podling.store.overlay import Driver

        program = self.storage.mount_program
        if not self.in_user_namespace or self.storage.driver == "vfs" or program:
            return Driver(name=self.storage.driver or "overlay", mount_program=program, userxattr=self.in_user_namespace)
        from podling.store.driver import choose

        return choose(self.paths.graphroot, self.storage.driver)

    def _unpack_rules(self) -> UnpackRules:
        from podling.store.layers import UnpackRules

        return UnpackRules(userxattr=self.in_user_namespace, skip_devices=self.in_user_namespace,
                           ignore_chown_errors=self.storage.ignore_chown_errors or (self.rootless and rootless.has_one_id()))

    @property
    def networks(self) -> Networks:
        """The networks' definitions."""
        if self._networks is None:
            from podling.network.networks import Networks

            own = f"{data_directory(self.owner)}/containers/storage/networks" if self.owner else ""   # Podman's place
            self._networks = Networks(self.options.network_config_dir or self.conf.network_config_dir or own, self.conf)
        return self._networks

    @property
    def cgroup_manager(self) -> str:
        """As asked for or configured; by default systemd only where the user's systemd can be reached."""
        chosen = self.options.cgroup_manager or self.conf.cgroup_manager
        if self.options.cgroup_manager or chosen != "systemd" or self.owner is None:
            return chosen
        reachable = os.path.exists(f"{rootless.runtime_directory(self.owner)}/systemd/private")
        return chosen if reachable else "cgroupfs"

    @property
    def delegated(self) -> tuple[str, ...] | None:
        """The controllers of cgroup version 2 that an ordinary user's systemd may limit by; None where it limits by none or is root's."""
        if self.owner is None:
            return None
        uid = self.owner.uid
        try:
            text = read_text(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers")
        except OSError:
            return None
        return tuple(sorted(text.split()))

    def lock(self, kind: str, name: str) -> Lock:
        """The kernel lock of one object."""
        return Lock(f"{self.paths.locks}/{kind}-{name}")

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_engine(options: GlobalOptions) -> Engine:
    """The engine that the options and the configuration files describe.

    For an ordinary user this process becomes root in the user's namespace: it must have no other thread yet.
    """
    who = rootless.owner()
    home = who.home if who else os.environ.get("HOME", "/")
    cache = cache_directory(who)
    conf = _with_options(containers_conf.load(os.environ, rootless=who is not None, home=home, cache="" if options.modules else cache,
                                              modules=options.modules), options)
    for line in conf.engine_env:
        os.environ.setdefault(*line.partition("=")[::2])
    storage = storage_conf.load(os.environ, rootless=who is not None, home=home, cache=cache)
    storage = storage_conf.with_options(storage, options.storage_driver, options.storage_opt or ())
    paths = _paths(options, storage, who).replace(volume_path=conf.volume_path.rstrip("/"))
    outside = who is not None and not rootless.entered()
    if who is not None and outside:
        from podling.linux import holder  # root has no use for it

        holder.enter(who, paths.runroot)
    engine = Engine(options, conf=conf, storage=storage, paths=paths)
    engine.joined = outside
    return engine


def _with_options(conf: ContainersConf, options: GlobalOptions) -> ContainersConf:
    """The configuration with what the command line says instead."""
    said = {"network_backend": options.network_backend, "hooks_dir": options.hooks_dir, "volume_path": options.volume_path}
    said = {name: value for name, value in said.items() if value}
    return conf.replace(**said) if said else conf


def cache_directory(who: Owner | None) -> str:
    """Where what was read from configuration files is kept until the next reboot."""
    return f"{rootless.runtime_directory(who)}/containers/podling-cache" if who else "/run/containers/podling-cache"


def data_directory(who: Owner) -> str:
    """The user's directory of programs' data."""
    return os.environ.get("XDG_DATA_HOME") or f"{who.home}/.local/share"


def _paths(options: GlobalOptions, storage: StorageConf, who: Owner | None) -> Paths:
    graph, run = GRAPHROOT, RUNROOT
    if who is not None:
        graph, run = f"{data_directory(who)}/containers/podling", f"{rootless.runtime_directory(who)}/containers/podling"
    podmans = {PODMAN_GRAPHROOT, PODMAN_RUNROOT, os.path.dirname(graph) + "/storage", os.path.dirname(run)}
    graphroot = os.path.abspath(options.root) if options.root else _own(storage.graphroot, podmans, graph)
    runroot = os.path.abspath(options.runroot) if options.runroot else _own(storage.runroot, podmans, run)
    if options.root and not options.runroot and graphroot != graph:
        runroot = f"{runroot}-{binascii.crc32(graphroot.encode()):08x}"   # two stores never share what is running
    return Paths(graphroot=graphroot, runroot=runroot)


def _own(configured: str, podmans: set[str], ours: str) -> str:
    """Our root for one in storage.conf: never Podman's own directory."""
    if not configured or configured.rstrip("/") in podmans:
        return ours
    if not configured.startswith("/"):
        raise InvalidArgument(f"storage.conf: {configured!r} is not an absolute path")
    return configured.rstrip("/") + "/podling"
