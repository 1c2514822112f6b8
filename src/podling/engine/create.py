"""``create``: a container that can be started, or nothing at all."""

from __future__ import annotations

import os
import time

from podling import launch, log
from podling.engine import names, volumes
from podling.engine.engine import Engine
from podling.engine.options import CreateOptions, CreateVolumeOptions, PullOptions, RemoveOptions
from podling.engine.resolve import WITHOUT_PORTS, Surroundings, check, resolve
from podling.errors import AlreadyExists, InvalidArgument, NoSuchContainer, NoSuchImage, NotFound, Unsupported, explain
from podling.linux import cgroups, process, userns
from podling.linux.files import write_atomic
from podling.model import Container, ContainerConfig, Image, ImageConfig
from podling.state.containers import name_in_use
from podling.undo import Undo
from podling.values.isolation import Namespace
from podling.values.machines import ARCHITECTURES
from podling.values.mounts import Mount

ENVIRONMENT_FILE_LIMIT = 1 << 20
SECCOMP_LABEL = "io.containers.seccomp.profile"


def create(engine: Engine, options: CreateOptions) -> Container:
    """Make a container; on failure nothing of it is left (a pulled image stays)."""
    check(options)
    if options.cidfile:
        options = options.replace(cidfile=os.path.abspath(options.cidfile))
    if any(mount.kind == "glob" for mount in options.mounts):
        options = options.replace(mounts=_globbed(options.mounts))
    cidfile = _reserve_cidfile(options.cidfile)
    with Undo() as undo:
        if cidfile:
            undo.callback(os.unlink, cidfile)
        name = _free_name(engine, options)
        image, image_config, image_name = _image(engine, options)
        surroundings = _surroundings(engine, options, image, name, image_name)
        if surroundings.user_ns is not None and surroundings.user_ns.mode == "auto":
            with engine.lock("userns", "auto").exclusive():      # from reading which ids are free until the row says whose they are
                container, config = _settle(engine, options, image_config, surroundings, undo)
        else:
            container, config = _settle(engine, options, image_config, surroundings, undo)
        if cidfile:
            write_atomic(cidfile, config.id.encode(), 0o644)
    if engine.rootless and config.restart.name not in ("", "no"):
        from podling.engine import boot

        boot.arrange(engine, config)
    return container


def _settle(engine: Engine, options: CreateOptions, image: ImageConfig | None, surroundings: Surroundings,
            undo: Undo) -> tuple[Container, ContainerConfig]:
    """Decide what the container is, and make it."""
    if surroundings.user_ns is not None:
        from podling.engine import idmaps

        surroundings = surroundings.replace(ids=idmaps.gather(engine, options, surroundings))
    config = _with_image_seccomp(engine, options, resolve(options, image, engine.conf, surroundings))
    _check_sources(config, options)
    _tell_discarded(options, config)
    config = _publish(_on_networks(engine, config))
    return _make(engine, config, undo), config


def _user_namespace(engine: Engine, options: CreateOptions) -> Namespace | None:
    """The user namespace that is asked for; None where it is the engine's own."""
    if not (options.user_ns or options.uid_map or options.gid_map or options.subuid_name or options.subgid_name
            or os.environ.get("PODMAN_USERNS") or engine.conf.userns):
        return None
    from podling.engine import idmaps  # for containers with ids of their own alone

    return idmaps.wanted(options, engine.conf, os.environ)


def _make(engine: Engine, config: ContainerConfig, undo: Undo) -> Container:
    """The effects: volumes, directories, rows."""
    images = _mounted_images(engine, config)
    with engine.filesystems.making():
        for volume in _missing_volumes(engine, config):
            if volumes.ensure(engine, volume):
                undo.callback(volumes.remove, engine, volume.name)
        engine.filesystems.make(config.id)
        undo.callback(engine.filesystems.remove, config.id)
        if config.security.seccomp == _image_seccomp(engine, config):
            write_atomic(config.security.seccomp, config.labels[SECCOMP_LABEL].encode(), 0o600)
        container = summary(config)
        engine.containers.add(container, config, needs=_needs(config), images=images,
                              volumes=[m.source for m in config.mounts if m.kind == "volume"])
    return container


def _with_image_seccomp(engine: Engine, options: CreateOptions, config: ContainerConfig) -> ContainerConfig:
    """``--seccomp-policy=image``: the profile that the image's label holds, which is kept beside the container."""
    if options.seccomp_policy != "image" or options.security.seccomp or SECCOMP_LABEL not in config.labels:
        return config
    return config.replace(security=config.security.replace(seccomp=_image_seccomp(engine, config)))


def _image_seccomp(engine: Engine, config: ContainerConfig) -> str:
    return f"{engine.paths.container(config.id)}/seccomp.json"


def summary(config: ContainerConfig) -> Container:
    """The part of a container's config that lists show."""
    networks = tuple(network.network for network in config.networks)
    return Container(id=config.id, name=config.name, image_id=config.image_id, image_name=config.image_name or config.rootfs,
                     created=config.created, command=config.cmd or config.command, labels=config.labels, ports=config.ports,
                     exposed_ports=config.exposed_ports, networks=networks, mounts=tuple(mount.destination for mount in config.mounts),
                     auto_remove=config.auto_remove)


def _globbed(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The mounts with one for each path that a glob matches; InvalidArgument where none does, or two have one destination."""
    import glob  # for those who have such a mount alone

    found: list[Mount] = []
    for mount in mounts:
        if mount.kind != "glob":
            found.append(mount)
            continue
        paths = sorted(glob.glob(mount.source, include_hidden=True))
        if not paths:
            raise InvalidArgument(f'no file paths matching glob "{mount.source}"')
        found += [mount.replace(kind="bind", source=path, destination=os.path.join(mount.destination, os.path.basename(path))
                                if mount.destination else path) for path in paths]
    seen: set[str] = set()
    for mount in found:
        if mount.destination in seen:
            raise InvalidArgument(f"{mount.destination}: duplicate mount destination")
        seen.add(mount.destination)
    return tuple(found)


def _reserve_cidfile(path: str | None) -> str:
    """The cidfile, made empty, so that two containers never write to one; "" where none is asked for."""
    if not path:
        return ""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        raise AlreadyExists("container id file exists. Ensure another container is not using it or delete " + path,
                            hint=f"remove {path}, or name another --cidfile") from None
    return path


def _free_name(engine: Engine, options: CreateOptions) -> str:
    """A name nobody has; with ``--replace`` its owner is removed."""
    if not options.name:
        while True:
            name = names.random_name()
            if engine.database.row("SELECT 1 FROM containers WHERE name = ?", name) is None:
                return name
    name = names.check_name(options.name)
    taken = engine.database.row("SELECT id FROM containers WHERE name = ?", name)
    if taken is not None:
        if not options.replace_existing:
            raise name_in_use(name, taken[0])
        from podling.engine.remove import remove

        try:
            remove(engine, engine.containers.get(taken[0]), RemoveOptions(force=True))
        except NoSuchContainer:
            log.debug(f"the container to replace, {name}, was removed by another command meanwhile")
    return name


def _image(engine: Engine, options: CreateOptions) -> tuple[Image | None, ImageConfig | None, str]:
    """(image, its config, the name to show), pulled by the policy; all empty for ``--rootfs``."""
    if options.rootfs:
        root = options.image.removesuffix(":O")
        if not os.path.isdir(root):
            raise NotFound(f"checking rootfs: stat {root}: no such file or directory")
        return None, None, ""
    policy = options.pull.policy or engine.conf.pull_policy or "missing"
    image = None
    if policy in ("missing", "never"):
        image = engine.images.lookup(options.image, platform=options.pull.platform)
        if image is None and policy == "never":
            raise NoSuchImage(f"{options.image}: image not known", hint=f"pull it first: podling pull {options.image}")
    if image is None:
        from podling.engine.images import pull

        image = pull(engine, options.image, options.pull.replace(policy=policy) if policy else PullOptions())
        config = engine.images.config(image)
    else:
        config = engine.images.config(image)
        if options.pull.platform is None:
            _warn_of_platform(config)
    return image, config, engine.images.name_for(image, options.image)


def _warn_of_platform(config: ImageConfig) -> None:
    """Say that a local image is for another machine than this, which its programs tell by "exec format error" alone."""
    machine = os.uname().machine
    if config.platform.architecture not in ("", ARCHITECTURES.get(machine, machine)):
        from podling.image.platforms import format_platform, host_platform

        log.warning(f"image platform ({format_platform(config.platform)}) does not match the expected platform "
                    f"({format_platform(host_platform())})")


def _surroundings(engine: Engine, options: CreateOptions, image: Image | None, name: str, image_name: str) -> Surroundings:
    from podling.runtime.monitor.runtimes import choose_runtime

    container_id = names.random_id()
    runtime = choose_runtime(engine.conf, options.runtime or engine.options.runtime, cache=engine.paths.cache)
    fresh = 64 + len(options.mounts)
    return Surroundings(
        id=container_id, name=name, created=time.time_ns(), environ=launch.caller_environment(),
        env_files=tuple(read_lines(path, f'parsing file "{path}"') for path in options.env_files),
        label_files=tuple(read_lines(path, "unable to process labels") for path in options.label_files),
        hostname=os.uname().nodename,
        image_id=image.id if image else "", image_name=image_name, image_digest=image.digest if image else "",
        image_store=image.store if image else "",
        log_path=engine.paths.container(container_id) + "/ctr.log",
        runtime=runtime.name, runtime_path=runtime.path,
        runtime_flags=tuple(f"--{flag}" for flag in (*engine.conf.runtimes_flags.get(runtime.name, ()), *engine.options.runtime_flags)),
        init_path=_init_path(engine, options),
        cgroup_manager=engine.cgroup_manager,
        inherited=_inherited(engine, options.volumes_from),
        volume_names=tuple(names.random_id() for _ in range(fresh)) if options.mounts or image else (),
        joined=_joined(engine, options), capabilities=userns.bounding_capabilities(),
        rootless=engine.rootless, no_limits=_no_limits(engine, options),
        blkio_weight=options.resources.blkio_weight is None or _has_blkio_weight(),
        delegated=engine.delegated if engine.cgroup_manager == "systemd" else None,
        user_ns=_user_namespace(engine, options),
    )


def _no_limits(engine: Engine, options: CreateOptions) -> str:
    """Why a container can have no limits: "v1" where a user can have no cgroup, "cgroupfs" where nobody gives it one, "" if it can."""
    if not engine.rootless:
        return ""
    if cgroups.layout() != "v2":
        return "v1"
    return "" if engine.cgroup_manager == "systemd" or options.cgroup_parent else "cgroupfs"


def _init_path(engine: Engine, options: CreateOptions) -> str:
    """The init program that ``--init`` puts before the command; Unsupported where none is installed."""
    if not (engine.conf.init if options.init is None else options.init):
        return ""
    named = options.init_path or engine.conf.init_path
    if named:
        if not os.access(named, os.X_OK):
            raise InvalidArgument(f"container-init binary not found on the host: {named}", hint="name an init program by --init-path")
        return named
    found = process.find_program("catatonit", (*engine.conf.helper_binaries_dir, "/usr/libexec/catatonit"))
    if found is None:
        raise Unsupported("--init needs an init program, and catatonit is not installed",
                          hint="install the package catatonit, or name another by --init-path")
    return found


def read_lines(path: str, doing: str) -> tuple[str, ...]:
    """The meaningful lines of an ``--env-file`` or ``--label-file``; ``doing`` begins the message where it cannot be opened."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            text = file.read(ENVIRONMENT_FILE_LIMIT + 1)
    except OSError as error:
        raise InvalidArgument(f"{doing}: open {explain(error)}") from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path} is not UTF-8 text: {error}") from None
    if len(text) > ENVIRONMENT_FILE_LIMIT:
        raise InvalidArgument(f"{path} is larger than {ENVIRONMENT_FILE_LIMIT} bytes")
    lines = [line.removesuffix("\r").lstrip() for line in text.split("\n")]
    return tuple(line for line in lines if line and not line.startswith("#"))


def _joined(engine: Engine, options: CreateOptions) -> dict[str, str]:
    """Full ids of the containers whose namespaces are joined."""
    found = {}
    for namespace in (options.net_ns, options.pid_ns, options.ipc_ns, options.uts_ns, options.cgroup_ns, options.user_ns):
        if namespace is not None and namespace.mode == "container":
            found[namespace.value] = engine.containers.find(namespace.value).id
    for name in options.requires:
        found[name] = engine.containers.find(name).id
    return found


def _needs(config: ContainerConfig) -> list[str]:
    spaces = (config.net_ns, config.pid_ns, config.ipc_ns, config.uts_ns, config.cgroup_ns, config.user_ns)
    return list(dict.fromkeys([*(namespace.value for namespace in spaces if namespace.mode == "container"), *config.requires]))


def _inherited(engine: Engine, volumes_from: tuple[str, ...]) -> tuple[Mount, ...]:
    """The mounts of the containers named by ``--volumes-from``."""
    found: list[Mount] = []
    for text in volumes_from:
        source, _, words = text.partition(":")
        options = tuple(word for word in words.split(",") if word)
        for word in options:
            if word not in ("ro", "rw", "z"):
                raise InvalidArgument(f"invalid options \"{words}\", can only specify 'ro', 'rw', and 'z': invalid argument")
        for mount in engine.containers.config(engine.containers.find(source).id).mounts:
            if mount.kind in ("bind", "volume"):
                kept = tuple(o for o in mount.options if not ({"ro", "rw"} & set(options) and o in ("ro", "rw")))
                found.append(mount.replace(options=(*kept, *(o for o in options if o != "z")),
                                           relabel="z" if "z" in options else mount.relabel))
    return tuple(found)


def _mounted_images(engine: Engine, config: ContainerConfig) -> list[str]:
    """Ids of our own images that are mounted into the container, so that they cannot be removed."""
    found = []
    for mount in config.mounts:
        if mount.kind == "image":
            image = engine.images.resolve(mount.source)
            if not image.store:
                found.append(image.id)
    return found


def _missing_volumes(engine: Engine, config: ContainerConfig) -> list[CreateVolumeOptions]:
    """The volumes that must be made: anonymous ones, and named ones that do not exist yet."""
    missing = {}
    for mount in config.mounts:
        if mount.kind == "volume" and not volumes.exists(engine, mount.source):
            anonymous = len(mount.source) == 64 and not mount.source.strip("0123456789abcdef")
            missing[mount.source] = CreateVolumeOptions(name=mount.source, anonymous=anonymous)
    return list(missing.values())


def _on_networks(engine: Engine, config: ContainerConfig) -> ContainerConfig:
    """With each network's name where its id was said; NoSuchNetwork."""
    default = engine.conf.default_network or "podman"
    names = [each.network if each.network == default else engine.networks.get(each.network).name for each in config.networks]
    by_name = {name: each.replace(network=name) for name, each in zip(names, config.networks, strict=True)}
    return config.replace(networks=tuple(by_name.values()))


def _check_sources(config: ContainerConfig, options: CreateOptions) -> None:
    """NotFound, in Podman's words, where a bind mount's source or a profile is not there: who can never start is not made."""
    profile = options.security.seccomp
    if profile not in ("", "unconfined") and not os.path.exists(profile):
        raise NotFound(f"opening seccomp profile failed: open {profile}: no such file or directory")
    for mount in config.mounts:
        if mount.kind == "bind" and not mount.overlay:
            try:
                os.statvfs(mount.source)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFound(f"statfs {explain(error)}", hint=f"make it first: mkdir -p {mount.source}") from None


def _tell_discarded(options: CreateOptions, config: ContainerConfig) -> None:
    """Say what of the options was left out because it means nothing here."""
    if options.ports and not config.ports:
        log.note("Port mappings have been discarded as one of the Host, Container, Pod, and None network modes are in use")
    if options.resources.blkio_weight is not None and config.resources.blkio_weight is None:
        log.note("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")


def _has_blkio_weight() -> bool:
    """Whether cgroups have a weight for block devices; on version 2 the runtime knows, which writes one of several files."""
    if cgroups.layout() == "v2":
        return True
    directory = cgroups.hierarchies().directory("blkio", "/")
    return directory is not None and os.path.exists(f"{directory}/blkio.weight")


def _publish(config: ContainerConfig) -> ContainerConfig:
    """Choose host ports where none was said, and publish exposed ones for ``--publish-all``."""
    if not (config.ports or config.publish_all) or config.net_ns.mode in WITHOUT_PORTS:
        return config
    from podling.network.ports import assign

    return config.replace(ports=assign(config.ports, exposed=config.exposed_ports if config.publish_all else ()))
