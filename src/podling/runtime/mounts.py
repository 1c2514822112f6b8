"""The mounts of a container in OCI form: the default file systems, the user's mounts and the files for /etc. Pure."""

from __future__ import annotations

from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.model import ContainerConfig, Facts
    from podling.runtime.host import DeviceNode, HostFacts
    from podling.values.mounts import Mount

INIT_PATH = "/run/podman-init"
NOTIFY = "/run/notify"
_PROPAGATION = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")
_SYSTEMD = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")
_TMPFS = ("rw", "rprivate", "nosuid", "nodev", "tmpcopyup")
# Options that steer the engine or repeat the default, and are not for the runtime.
_NOT_MOUNT_OPTIONS = ("notmpcopyup", "copy", "nocopy", "consistency", "z", "Z", "U", "O")


def runs_systemd(config: ContainerConfig) -> bool:
    """Whether the container gets what systemd needs: asked for, or its command is systemd or an init."""
    if config.systemd == "always":
        return True
    if config.systemd == "false" or not config.command or config.init:
        return False
    program = config.command[0]
    return program in _SYSTEMD or program.rpartition("/")[2] == "systemd"


def in_user_namespace(config: ContainerConfig, host: HostFacts) -> bool:
    """Whether the container's root is not this host's."""
    return host.rootless or has_user_namespace(config)


def has_user_namespace(config: ContainerConfig) -> bool:
    """Whether the container has or joins a user namespace of its own."""
    return bool(config.uid_map) or config.user_ns.mode not in ("host", "")


def mounts(config: ContainerConfig, facts: Facts, host: HostFacts) -> list[dict[str, Any]]:
    """All mounts, shallow destinations first; what the user mounts takes the place of a default at the same destination."""
    users = [_user_mount(mount, facts, host) for mount in config.mounts]
    taken = {mount["destination"] for mount in users}
    users += [mount for mount in _engine_mounts(config) if mount["destination"] not in taken]
    taken = {mount["destination"] for mount in users}
    own_dev = "/dev" in taken
    found = [mount for mount in _defaults(config, host)
             if mount["destination"] not in taken and not (own_dev and mount["destination"].startswith("/dev/"))]
    found = users + found
    if runs_systemd(config):
        _add_systemd(found, config, host)
    if host.rootless:
        found += _device_mounts(host.devices, taken)
    found += _files(config, facts, {mount["destination"] for mount in users})
    # Python's sort is stable: of two mounts equally deep the first stays the first
    return sorted(found, key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _mount(destination: str, kind: str, source: str, options: Iterable[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


# --- the default file systems -----------------------------------------------------------------------------------------


def _defaults(config: ContainerConfig, host: HostFacts) -> list[dict[str, Any]]:
    restricted = in_user_namespace(config, host)
    return [_proc(config, restricted), _dev(config), _sys(config, host), _pts(config, host),
            _mqueue(config, restricted), *_cgroup(config, host)]


def _proc(config: ContainerConfig, restricted: bool) -> dict[str, Any]:
    if restricted and config.pid_ns.mode == "host":
        return _mount("/proc", "bind", "/proc", ("rbind", "nosuid", "noexec", "nodev", "rw", "rprivate"))
    return _mount("/proc", "proc", "proc", config.security.proc_options or ("nosuid", "noexec", "nodev"))


def _dev(config: ContainerConfig) -> dict[str, Any]:
    sealed = config.read_only and not config.read_write_tmpfs
    return _mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k", *(("ro",) if sealed else ())))


def _can_mount_sys(config: ContainerConfig, host: HostFacts) -> bool:
    """sysfs shows a network namespace; the kernel lets only the owner of that namespace mount it."""
    if has_user_namespace(config):
        if config.net_ns.mode == "container":    # both of one container, as in a pod
            return config.user_ns == config.net_ns
        return config.net_ns.mode in ("slirp4netns", "pasta", "private", "none", "bridge")
    return not (host.rootless and config.net_ns.mode == "host")


def _sys(config: ContainerConfig, host: HostFacts) -> dict[str, Any]:
    mode = "rw" if config.privileged else "ro"
    if not _can_mount_sys(config, host):
        return _mount("/sys", "bind", "/sys", ("rprivate", "nosuid", "noexec", "nodev", mode, "rbind"))
    if config.privileged:
        return _mount("/sys", "sysfs", "sysfs", ("rprivate", "nosuid", "noexec", "nodev", "rw"))
    return _mount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro"))


def _pts(config: ContainerConfig, host: HostFacts) -> dict[str, Any]:
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if maps(config.gid_map or host.gid_map, 5):
        options.append("gid=5")
    else:
        options.insert(0, "rprivate")
    return _mount("/dev/pts", "devpts", "devpts", options)


def _mqueue(config: ContainerConfig, restricted: bool) -> dict[str, Any]:
    if restricted and config.ipc_ns.mode == "host":
        return _mount("/dev/mqueue", "bind", "/dev/mqueue", ("bind", "nosuid", "noexec", "nodev", "rw", "rprivate"))
    return _mount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev"))


def _cgroup(config: ContainerConfig, host: HostFacts) -> list[dict[str, Any]]:
    if not _can_mount_sys(config, host):
        return []      # the host's own is inside the bind mount of /sys
    writable = config.privileged or (host.cgroup_layout == "v2" and not is_masked("/sys/fs/cgroup", config.security.unmask))
    return [_mount("/sys/fs/cgroup", "cgroup", "cgroup",
                   ("rprivate", "nosuid", "noexec", "nodev", "relatime", "rw" if writable else "ro"))]


def is_masked(path: str, unmask: Iterable[str]) -> bool:
    """Whether a path stays masked; ``unmask`` has paths with ``*``, several joined by ``:``, or ALL."""
    for word in unmask:
        if word.lower() == "all":
            return False
        if any(_matches(pattern.rstrip("/") or "/", path) for pattern in word.split(":")):
            return False
    return True


def _matches(pattern: str, path: str) -> bool:
    """Go's filepath.Match for ``*`` and ``?``: neither crosses a slash."""
    wanted, given = pattern.split("/"), path.split("/")
    return len(wanted) == len(given) and all(_matches_part(w, g) for w, g in zip(wanted, given, strict=True))


def _matches_part(pattern: str, text: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    if pattern.startswith("*"):
        return any(_matches_part(pattern[1:], text[start:]) for start in range(len(text) + 1))
    if not text:
        return not pattern
    return bool(pattern) and pattern[0] in ("?", text[0]) and _matches_part(pattern[1:], text[1:])


# --- the user's mounts ------------------------------------------------------------------------------------------------


def _user_mount(mount: Mount, facts: Facts, host: HostFacts) -> dict[str, Any]:
    destination = mount.destination
    if mount.kind == "tmpfs":
        options = _tmpfs_options(mount.options)
        if mount.chown:
            options += [f"uid={facts.uid}", f"gid={facts.gid}"]
        return _mount(host.destinations.get(destination, destination), "tmpfs", "tmpfs", options)
    if mount.kind in ("ramfs", "devpts"):
        return _mount(destination, mount.kind, mount.kind, mount.options)
    source = host.sources.get(destination) or mount_source(mount, facts)
    if mount.kind == "volume":
        if not source.startswith("/"):
            raise InvalidArgument(f"volume {mount.source!r} is not mounted")
        flags: tuple[str, ...] = ("nosuid", "nodev")
    else:
        flags = host.mount_flags.get(source, ())
    if mount.overlay or mount.kind == "image":
        return _mount(destination, "bind", source, ("private", "ro" if _is_read_only(mount) else "rw", "rbind"))
    return _mount(destination, "bind", source, _bind_options(mount.options, flags))


def _is_read_only(mount: Mount) -> bool:
    return "ro" in mount.options or (mount.kind == "image" and not mount.read_write)


def mount_source(mount: Mount, facts: Facts) -> str:
    """The host path that a bind mount or a volume shows, before overlays and sub-paths."""
    return facts.volumes.get(mount.source, mount.source) if mount.kind == "volume" else mount.source


def _bind_options(options: Iterable[str], flags: Iterable[str]) -> list[str]:
    """The options given, completed as Podman completes them: rw, rprivate, the flags of the source, rbind."""
    found = [word for word in options
             if word not in _NOT_MOUNT_OPTIONS and not word.startswith(("idmap", "upperdir=", "workdir="))]
    if not ("ro" in found or "rw" in found):
        found.append("rw")
    if not any(word in _PROPAGATION for word in found):
        found.append("rprivate")
    # "exec" in the options says that the user wants it although the source's file system does not
    found += [word for word in flags if word not in found and word[2:] not in found]
    if not ("bind" in found or "rbind" in found):
        found.append("rbind")
    return found


def _tmpfs_options(options: Iterable[str]) -> list[str]:
    given = list(options)
    found = [word for word in given if word not in _NOT_MOUNT_OPTIONS]
    if not ("ro" in found or "rw" in found):
        found.append("rw")
    if not any(word in _PROPAGATION for word in found):
        found.append("rprivate")
    found += [word for word in ("nosuid", "nodev") if word not in found and word[2:] not in found]
    if "tmpcopyup" not in found and "notmpcopyup" not in given:
        found.append("tmpcopyup")
    return found


# --- what the engine adds ---------------------------------------------------------------------------------------------


def _engine_mounts(config: ContainerConfig) -> list[dict[str, Any]]:
    found = []
    if config.init:
        found.append(_mount(INIT_PATH, "bind", config.init_path, ("bind", "ro", "rprivate")))
    if config.read_only and config.read_write_tmpfs:
        found += [_mount(path, "tmpfs", "tmpfs", _TMPFS) for path in ("/run", "/tmp", "/var/tmp")]
    return found


def _files(config: ContainerConfig, facts: Facts, taken: set[str]) -> list[dict[str, Any]]:
    """Files written for this start, and /dev/shm."""
    sealed = ("ro", "nosuid", "noexec", "nodev") if config.read_only else ()
    found = []
    for destination, source in sorted(facts.etc_files.items()):
        hidden = destination == "/run/.containerenv" and "/run" in taken
        if destination not in taken and not hidden:
            found.append(_mount(destination, "bind", source, ("bind", "rprivate", *sealed)))
    if facts.notify:
        found.append(_mount(NOTIFY, "bind", facts.notify, ("bind", "rprivate", "nosuid", "noexec", "nodev")))
    shm = facts.shm or ("/dev/shm" if config.ipc_ns.mode == "host" else "")
    if shm and "/dev/shm" not in taken:
        mode = ("ro",) if config.read_only and not config.read_write_tmpfs else ()
        found.append(_mount("/dev/shm", "bind", shm, ("bind", "rprivate", *mode, "nosuid", "noexec", "nodev")))
    return found


def _add_systemd(found: list[dict[str, Any]], config: ContainerConfig, host: HostFacts) -> None:
    """systemd wants /run, /run/lock, /tmp and the journal's directory on tmpfs and a cgroup that it may write."""
    taken = {mount["destination"] for mount in found}
    options = (*_TMPFS, f"size={config.shm_size_systemd}") if config.shm_size_systemd else _TMPFS
    found += [_mount(path, "tmpfs", "tmpfs", options)
              for path in ("/run", "/run/lock", "/tmp", "/var/log/journal") if path not in taken]
    if host.cgroup_layout == "v2":
        found[:] = [mount for mount in found if mount["destination"] != "/sys/fs/cgroup"]
        if config.cgroup_ns.mode != "host":
            found.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", ("private", "rw")))
        else:
            found.append(_mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", ("bind", "private", "rw")))
    elif host.systemd_cgroup_flags is not None:
        found.append(_mount("/sys/fs/cgroup/systemd", "bind", "/sys/fs/cgroup/systemd",
                            ("bind", "rprivate", *host.systemd_cgroup_flags)))


def _device_mounts(nodes: Iterable[DeviceNode], hidden: set[str]) -> list[dict[str, Any]]:
    """Bind mounts in place of device nodes, which an ordinary user cannot make."""
    return [{"destination": node.path, "type": "bind", "source": node.host_path,
             "options": ["slave", "nosuid", "noexec", "rw" if "w" in node.access else "ro", "rbind"]}
            for node in nodes
            if node.path not in hidden and node.path != "/dev/ptmx" and not node.path.startswith("/dev/tty")]


def root_propagation(found: Iterable[dict[str, Any]]) -> str:
    """The propagation that the root needs for the mounts' own to work: a shared mount asks for a shared root."""
    wanted = ""
    for mount in found:
        for option in mount["options"]:
            if option in ("shared", "rshared"):
                return "shared"
            if option in ("slave", "rslave"):
                wanted = "rslave"
    return wanted


def maps(id_map: Iterable[str], number: int) -> bool:
    """Whether an id exists in the container; an empty map maps everything."""
    lines = [line.split(":") for line in id_map]
    return not lines or any(int(first) <= number < int(first) + int(size) for first, _, size in lines)
