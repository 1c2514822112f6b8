"""The steps that bring a container up, and take it down again.

    bundle directory -> user namespace -> rootfs -> volumes -> shm -> network -> etc files -> bundle -> monitor -> connected

``up`` finds the facts of the steps before its own and adds what turned out true. ``down`` needs only the stored config: it
works after a crash, after a reboot, in another process; it is idempotent, and one path serves a failed start, the exit
command and ``rm --force``.
"""

from __future__ import annotations

import os

from podling import __version__, jsontext, launch, log
from podling.engine import volumes
from podling.engine.engine import Engine
from podling.engine.permissions import check_ids, kept_groups, outside, strange_mount
from podling.engine.roots import layer_maps, mount_root
from podling.errors import NotExecutable, PodlingError, Unsupported, WrongState, explain
from podling.linux import mounts
from podling.linux.files import remove_tree, write_atomic
from podling.model import ContainerConfig, Facts
from podling.runtime import etc, hooks, host, monitor, users
from podling.runtime.spec import hostname, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.network import setup


class Starting:
    """One start under way: what the steps need besides the facts, and what they hand to each other while it runs."""

    def __init__(self, engine: Engine, config: ContainerConfig, *, attended: bool, preserve_fds: int = 0) -> None:
        self.engine = engine
        self.config = config
        self.attended = attended                  # the starting process stays and cleans up itself
        self.preserve_fds = preserve_fds          # how many of its descriptors, from 3 on, the container's process gets
        self.paths = engine.paths
        self.run = engine.paths.run(config.id)
        self.network: setup.Pending | None = None
        self.host: host.HostFacts | None = None
        self.lock: monitor.Attended | None = None


# --- user namespace ---------------------------------------------------------------------------------------------------


def _user_namespace_up(starting: Starting, facts: Facts) -> Facts:
    """It is there before all that belongs to it: the owners of files and the network namespace."""
    if starting.config.user_ns.mode in ("host", ""):
        return facts
    from podling.engine import usernamespaces  # for containers with ids of their own alone

    return facts.replace(namespaces={"user": usernamespaces.prepare(starting.engine, starting.config)})


# --- rootfs -----------------------------------------------------------------------------------------------------------


def _rootfs_up(starting: Starting, facts: Facts) -> Facts:
    config, engine = starting.config, starting.engine
    return facts.replace(rootfs=mount_root(engine, config, facts.namespaces.get("user", "")))


def _rootfs_down(engine: Engine, config: ContainerConfig) -> None:
    if not os.path.exists(f"{engine.paths.container(config.id)}/mounted"):  # by a user: engine.rootfs
        engine.filesystems.unmount(config.id)


# --- volumes and image mounts -----------------------------------------------------------------------------------------


def _volumes_up(starting: Starting, facts: Facts) -> Facts:
    engine, config = starting.engine, starting.config
    sources, images = {}, {}
    for number, mount in enumerate(config.mounts):
        if mount.kind == "volume":
            sources[mount.source] = volumes.use(engine, mount, facts.rootfs, owner=lambda: _owner(engine, config, facts))
        elif mount.kind == "image":
            image = engine.images.resolve(mount.source)
            images[mount.destination] = engine.filesystems.mount_image(
                config.id, number, engine.images.layer_directories(image.id, image.store), writable=mount.read_write,
                maps=layer_maps(config, facts.namespaces.get("user", "")))
        if mount.overlay:
            if any(option.startswith(("upperdir=", "workdir=")) for option in mount.options):
                raise Unsupported(f"upperdir and workdir of the overlay at {mount.destination} are not available yet",
                                  hint="leave them out: what is written is thrown away when the container ends")
            lower = sources.get(mount.source, mount.source)      # nothing that the container writes reaches it
            images[mount.destination] = engine.filesystems.mount_image(config.id, number, [lower], writable=True)
    return facts.replace(volumes=sources, image_mounts=images)


def _owner(engine: Engine, config: ContainerConfig, facts: Facts) -> tuple[int, int]:
    """uid and gid, as here, of the container's user, who owns a fresh volume where the image has nothing at its place."""
    user = _user(engine, config, facts)
    return outside(config, user.uid, user.gid)


def _user(engine: Engine, config: ContainerConfig, facts: Facts) -> users.User:
    user = users.lookup(users.accounts(config, facts), config.user, (*config.group_add, *kept_groups(config)))
    if engine.rootless or config.uid_map:
        check_ids(config, user.uid, user.gid)
    return user


def _volumes_down(engine: Engine, config: ContainerConfig) -> None:
    for number, mount in reversed(list(enumerate(config.mounts))):
        if mount.overlay:
            engine.filesystems.discard_image(config.id, number)
        if mount.kind == "image":
            engine.filesystems.unmount_image(config.id, number)
        elif mount.kind == "volume":
            volumes.release(engine, mount.source, config.id)


# --- /dev/shm ---------------------------------------------------------------------------------------------------------


def _shm_up(starting: Starting, facts: Facts) -> Facts:
    config = starting.config
    mode = config.ipc_ns.mode
    if mode == "container":
        return facts.replace(shm=starting.paths.run(config.ipc_ns.value) + "/shm")
    if mode == "host":
        return facts.replace(shm="/dev/shm")
    if mode in ("none", "ns"):
        return facts
    shm = starting.run + "/shm"
    os.makedirs(shm, 0o700, exist_ok=True)
    uid, gid = outside(config, 0, 0)
    mounts.tmpfs(shm, size=config.shm_size, mode=0o1777, options=("nosuid", "noexec", "nodev", f"uid={uid}", f"gid={gid}"), name="shm")
    return facts.replace(shm=shm)


def _shm_down(engine: Engine, config: ContainerConfig) -> None:
    mounts.unmount(engine.paths.run(config.id) + "/shm", lazy=True)


# --- network and joined namespaces ------------------------------------------------------------------------------------


def _network_up(starting: Starting, facts: Facts) -> Facts:
    engine, config = starting.engine, starting.config
    facts = facts.replace(namespaces={**facts.namespaces, **_joined_namespaces(engine, config)})
    if not _has_own_network(config):
        return facts
    from podling.network import setup
    from podling.network.leases import Leases

    if "user" in facts.namespaces:           # whoever needs the network namespace finds it there
        from podling.network import namespaces

        namespaces.make_owned(setup.netns_of(config, engine.paths.runroot), facts.namespaces["user"])
    starting.network = setup.begin(config, networks=engine.networks, leases=Leases(engine.database), conf=engine.conf,
                                   runroot=engine.paths.runroot,
                                   owner_of=lambda: _port_owners(engine))
    return facts.replace(netns=starting.network.netns, network=starting.network.planned)


def _port_owners(engine: Engine) -> dict[tuple[int, str], str]:
    """(host port, protocol) -> name of the running container that publishes it."""
    return {(port.host_port + number, port.protocol): container.name
            for container, state in engine.containers.list_with_states() if state.status in ("running", "paused")
            for port in container.ports for number in range(port.length)}


def _has_own_network(config: ContainerConfig) -> bool:
    """Whether there is anything to set up: modules of the network row are loaded for such containers alone."""
    return config.net_ns.mode not in ("host", "container", "ns")


def _network_down(engine: Engine, config: ContainerConfig) -> None:
    if not _has_own_network(config):
        return
    from podling.network import setup
    from podling.network.leases import Leases

    setup.down(config, leases=Leases(engine.database), conf=engine.conf, runroot=engine.paths.runroot)


def _joined_namespaces(engine: Engine, config: ContainerConfig) -> dict[str, str]:
    """Paths of the namespaces that are joined rather than made: kind as in the OCI spec -> path."""
    found = {}
    for kind, namespace in (("network", config.net_ns), ("pid", config.pid_ns), ("ipc", config.ipc_ns), ("uts", config.uts_ns),
                            ("cgroup", config.cgroup_ns)):
        if namespace.mode == "ns":
            found[kind] = namespace.value
        elif namespace.mode == "container":
            state = engine.containers.state(namespace.value)
            if state.status not in ("running", "paused"):
                raise WrongState(f"cannot join the {kind} namespace of container {namespace.value}: it is not running: "
                                 "container state improper", hint=f"start it first: podling start {namespace.value[:12]}")
            found[kind] = f"/proc/{state.pid}/ns/{'net' if kind == 'network' else kind}"
    return found


# --- files under /etc, the user ---------------------------------------------------------------------------------------


def _etc_up(starting: Starting, facts: Facts) -> Facts:
    engine, config = starting.engine, starting.config
    etc.prepare_root(facts.rootfs, config)
    user = _user(engine, config, facts)
    facts = facts.replace(bundle=starting.run, uid=user.uid, gid=user.gid, groups=user.groups, home=user.home)
    starting.host = host.gather(config, facts, runtime=config.runtime, cache=engine.paths.cache,
                                joined_hostname=_joined_hostname(engine, config))
    host_internal = engine.conf.host_containers_internal_ip or (starting.network.host if starting.network else "")
    settings = etc.EtcSettings(base_hosts=engine.conf.base_hosts_file, host_internal=host_internal,
                               engine=f"podling-{__version__}", graphroot=engine.paths.graphroot,
                               shared=_shared_files(engine, config))
    return facts.replace(etc_files=etc.write_files(config, facts, starting.run, settings,
                                                   hostname=hostname(config, starting.host)))


def _joined_hostname(engine: Engine, config: ContainerConfig) -> str:
    """The host name of the container whose UTS namespace is joined."""
    return engine.containers.config(config.uts_ns.value).hostname if config.uts_ns.mode == "container" else ""


def _shared_files(engine: Engine, config: ContainerConfig) -> dict[str, str]:
    """hosts and resolv.conf of the container whose network is joined."""
    if config.net_ns.mode != "container":
        return {}
    run = engine.paths.run(config.net_ns.value)
    files = {"/etc/hosts": run + "/hosts", "/etc/resolv.conf": run + "/resolv.conf"}
    return {path: file for path, file in files.items() if os.path.exists(file)}


# --- bundle -----------------------------------------------------------------------------------------------------------


def _bundle_up(starting: Starting, facts: Facts) -> Facts:
    etc.make_working_directory(starting.config, facts)
    facts = facts.replace(notify=monitor.notify.make_directory(starting.config, starting.run, outside(starting.config, 0, 0)))
    facts = _serve_own_ids(starting, facts)
    assert starting.host is not None
    document = hooks.apply(spec(starting.config, facts, starting.host), starting.config, starting.engine.conf.hooks_dir)
    write_atomic(starting.run + "/config.json", jsontext.dumps(document).encode("utf-8", "surrogateescape"), 0o600)
    return facts


def _serve_own_ids(starting: Starting, facts: Facts) -> Facts:
    """The mount options ``U`` and ``idmap``, and what the runtime needs for a container with ids of its own."""
    engine, config = starting.engine, starting.config
    chosen = any(mount.chown or mount.idmap is not None for mount in config.mounts)
    if not chosen and "user" not in facts.namespaces:
        return facts
    from podling.engine import staging, usernamespaces  # for such containers alone

    if chosen:
        facts = usernamespaces.own_mounts(engine, config, facts)
        assert starting.host is not None
        starting.host = starting.host.replace(sources={**starting.host.sources, **facts.image_mounts})
    if "user" in facts.namespaces:
        facts = facts.replace(staged_root=staging.stage(engine, config, facts.rootfs))
        if config.runtime == "runc":
            facts = facts.replace(namespaces=usernamespaces.as_runc_takes_it(engine, config, facts.namespaces,
                                                                             own_network=_has_own_network(config)))
    return facts


def _bundle_down(engine: Engine, config: ContainerConfig) -> None:
    if config.uid_map:
        from podling.engine import staging

        staging.unstage(engine, config)


def _directory_down(engine: Engine, config: ContainerConfig) -> None:
    run = engine.paths.run(config.id)
    for name in os.listdir(run) if os.path.isdir(run) else ():
        if name == "userns" or name.startswith(("crun.", "runc.")):  # of a runtime that was killed: see monitor.oci.environment
            mounts.unmount(f"{run}/{name}", lazy=True)
        elif name == "idmapped":
            mounts.unmount_all(f"{run}/{name}")
    remove_tree(run)


# --- monitor ----------------------------------------------------------------------------------------------------------


def _monitor_up(starting: Starting, facts: Facts) -> Facts:
    engine, config = starting.engine, starting.config
    if starting.attended:
        starting.lock = monitor.Attended(starting.run)
    if engine.owner and config.uid_map and config.cgroup_manager == "systemd":
        from podling.linux import scopes  # the container's root is not the user's: only the owner of the cgroup above can move it

        scopes.enter(engine.owner.uid)
    created = monitor.create(
        config, bundle=facts.bundle, conmon=engine.options.conmon or "", conf=engine.conf, exits=engine.paths.exits,
        exit_command=exit_command(engine, config),
        keep_fds=starting.network.reserved if starting.network else (), preserve_fds=starting.preserve_fds)
    if facts.staged_root:
        mounts.unmount(facts.staged_root, lazy=True)     # the container is made: runc only goes into the directory for each exec
    return facts.replace(pid=created.pid, conmon_pid=created.conmon_pid)


def exit_command(engine: Engine, config: ContainerConfig) -> tuple[str, ...]:
    """What conmon executes after the container's end."""
    options = engine.options
    own = [*launch.own_command(), "--root", engine.paths.graphroot, "--runroot", engine.paths.runroot]
    repeated = [("--hooks-dir", path) for path in options.hooks_dir or ()] + [("--module", path) for path in options.modules]
    for flag, value in (*repeated, ("--volumepath", options.volume_path), ("--network-backend", options.network_backend),
                        ("--runtime", options.runtime), ("--cgroup-manager", options.cgroup_manager), ("--conmon", options.conmon),
                        ("--network-config-dir", options.network_config_dir), ("--storage-driver", options.storage_driver),
                        ("--log-level", options.log_level)):
        if value:
            own += [flag, value]
    bundle = engine.paths.run(config.id)
    return monitor.exit_command((*own, "container", "cleanup", config.id), bundle=bundle,
                                until_gone=f"{engine.paths.exits}/{config.id}" if config.auto_remove else f"{bundle}/config.json")


def _monitor_down(engine: Engine, config: ContainerConfig) -> None:
    monitor.destroy(config, bundle=engine.paths.run(config.id), exits=engine.paths.exits)


def _connected_up(starting: Starting, facts: Facts) -> Facts:
    """The network, begun before the monitor, is waited for: both took their time side by side."""
    if starting.network is None:
        return facts
    planned = dict(starting.network.planned)
    found = starting.network.finish()
    late = {name for name, status in found.items() if status.addresses and name in planned and not planned[name].addresses}
    if late and starting.config.net_ns.mode == "bridge":        # by DHCP: nobody knew them when the files were written
        from podling.runtime import live_etc

        for name in late:
            live_etc.joined(starting.config, starting.run, found[name], [found[other] for other in found if other != name])
    return facts.replace(network=found)


def _nothing_down(engine: Engine, config: ContainerConfig) -> None:
    """What this step made goes with the directory of the bundle."""


STEPS: tuple[tuple[str, Callable[[Starting, Facts], Facts], Callable[[Engine, ContainerConfig], None]], ...] = (
    ("bundle directory", lambda starting, facts: facts, _directory_down),  # the last to go: by it a half-done end is known
    ("user namespace", _user_namespace_up, _nothing_down),
    ("root file system", _rootfs_up, _rootfs_down),
    ("volumes", _volumes_up, _volumes_down),
    ("shared memory", _shm_up, _shm_down),
    ("network", _network_up, _network_down),
    ("user and files in /etc", _etc_up, _nothing_down),
    ("bundle", _bundle_up, _bundle_down),
    ("monitor", _monitor_up, _monitor_down),
    ("connection", _connected_up, _nothing_down),
)


def up(starting: Starting) -> Facts:
    """Run every step; the caller undoes them by :func:`down`."""
    os.makedirs(starting.run, 0o700, exist_ok=True)
    facts = Facts()
    try:
        for _, step_up, _ in STEPS:
            facts = step_up(starting, facts)
    except BaseException as error:
        if starting.engine.rootless and isinstance(error, NotExecutable) and error.hint is None:
            error.hint = strange_mount(starting.config, facts) or None
        if starting.network is not None:
            starting.network.abandon()           # its drivers hold the lock that taking them down needs
        raise
    return facts


def down(engine: Engine, config: ContainerConfig) -> None:
    """Undo every step in reverse order; all are tried, then the first failure is raised."""
    first: PodlingError | OSError | None = None
    for name, _, step_down in reversed(STEPS):
        try:
            step_down(engine, config)
        except (PodlingError, OSError) as error:
            log.debug(f"taking down the {name} of container {config.id}: {explain(error)}")
            first = first or error
    if first is not None:
        raise PodlingError(f"cleaning up container {config.id}") from first
