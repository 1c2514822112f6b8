"""What the specification of a container needs to know of this host, as one record.

:func:`podling.runtime.spec.spec` is pure; everything that has to be looked up (device numbers, mount flags, limits, the seccomp
filter) is found here once, by :func:`gather`.
"""

from __future__ import annotations

import os
import resource
import stat

from podling.errors import InvalidArgument, NotFound
from podling.linux import cgroups, files, rootless, userns
from podling.record import Record
from podling.runtime import security
from podling.runtime.mounts import mount_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.model import ContainerConfig, Facts

UNLIMITED = -1
_SKIPPED_DIRECTORIES = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts")
_FLAGS = ((os.ST_NOEXEC, "noexec"), (os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"))


class DeviceNode(Record):
    """A device to appear in the container. ``kind``: c, b or p; ``access``: what the cgroup allows (rwm)."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    access: str = "rwm"
    host_path: str = ""


class HostFacts(Record):
    """What a container's specification depends on beside its configuration and its facts."""

    cgroup_layout: str = "v2"                       # v1, hybrid, v2
    rootless: bool = False
    gid_map: tuple[str, ...] = ()                   # of this process' user namespace, "inside:outside:size"; () maps all
    hostname: str = ""
    joined_hostname: str = ""                       # of the container whose UTS namespace is joined
    own_cgroup: str = ""                            # for --cgroups=split
    capabilities: tuple[str, ...] = ()              # this process' bounding set; () means: do not narrow
    may_raise_limits: bool = True                   # CAP_SYS_RESOURCE
    rlimits: dict[str, tuple[int, int]] = {}        # lower-case name -> soft, hard; -1 unlimited
    oom_score_adj: int = 0                          # of this process: the lowest value without CAP_SYS_RESOURCE
    devices: tuple[DeviceNode, ...] = ()
    device_numbers: dict[str, tuple[int, int]] = {}  # block device that is throttled -> major, minor
    sources: dict[str, str] = {}                    # mount destination -> host path, where it is not the mount's own
    destinations: dict[str, str] = {}               # tmpfs destination -> the same without symbolic links
    mount_flags: dict[str, tuple[str, ...]] = {}    # host path -> nosuid, nodev, noexec of the mount it is on
    systemd_cgroup_flags: tuple[str, ...] | None = None   # of /sys/fs/cgroup/systemd on v1; None where there is none
    seccomp: dict[str, Any] | None = None           # OCI linux.seccomp
    seccomp_bpf: str = ""                           # the compiled filter in base64, for crun
    apparmor: str = ""                              # profile's name


def gather(config: ContainerConfig, facts: Facts, *, runtime: str = "crun", cache: str = "",
           joined_hostname: str = "") -> HostFacts:
    """This host's facts for one container. ``runtime``: the OCI runtime's name; ``cache``: directory for compiled filters.

    Raises NotFound or InvalidArgument for devices that are not there or are none, Unsupported for an AppArmor profile where
    there is no AppArmor.
    """
    who = rootless.owner()
    layout = cgroups.layout()
    filter_ = security.seccomp(config, runtime=runtime, cache=cache)
    return HostFacts(
        cgroup_layout=layout, rootless=who is not None, hostname=os.uname().nodename, joined_hostname=joined_hostname,
        own_cgroup=_own_cgroup() if config.cgroups == "split" else "",
        gid_map=tuple(f"{ids.inside}:{ids.outside}:{ids.size}" for ids in userns.gid_map()) if who else (),
        capabilities=security.bounding_set(),
        may_raise_limits=userns.may_raise_limits(),
        rlimits=rlimits(), oom_score_adj=_oom_score_adj(),
        devices=tuple(_devices(config)), device_numbers=_device_numbers(config),
        sources=_sources(config, facts), destinations=_destinations(config, facts),
        mount_flags=_mount_flags(config, facts),
        systemd_cgroup_flags=_flags("/sys/fs/cgroup/systemd") if layout != "v2" else None,
        seccomp=filter_.profile, seccomp_bpf=filter_.bpf,
        apparmor=security.apparmor(config))


def process_facts() -> HostFacts:
    """The facts that one more process in a container depends on."""
    return HostFacts(capabilities=security.bounding_set(), may_raise_limits=userns.may_raise_limits(),
                     rlimits=rlimits(), oom_score_adj=_oom_score_adj())


def rlimits() -> dict[str, tuple[int, int]]:
    """This process' limits: lower-case name without RLIMIT_ -> soft, hard; -1 unlimited."""
    return {name[7:].lower(): resource.getrlimit(getattr(resource, name)) for name in dir(resource)
            if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"}


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", "rb") as file:
        return int(file.read())


def _own_cgroup() -> str:
    path = cgroups.own_cgroup()
    if path == "/":
        raise InvalidArgument("could not find a cgroup to split: this process is in the root cgroup")
    return path


# --- devices ----------------------------------------------------------------------------------------------------------


def _devices(config: ContainerConfig) -> Iterator[DeviceNode]:
    if config.privileged:
        # systemd in a container opens every terminal it sees and would take the host's
        hidden = "/dev/tty" if config.systemd == "always" else "\0"
        yield from (node for node in _tree("/dev", "/dev") if not node.path.startswith(hidden))
        return
    for device in config.devices:
        path = os.path.realpath(device.host_path)
        if os.path.isdir(path):
            nodes = list(_tree(path, device.container_path))
            if not nodes:
                raise InvalidArgument(f"no devices found in {device.host_path}")
            yield from (node.replace(access=device.permissions) for node in nodes)
            continue
        node = _node(path, device.container_path)
        if node is None:
            raise InvalidArgument(f"{device.host_path} is not a valid device")
        yield node.replace(access=device.permissions)


def _tree(directory: str, destination: str) -> Iterator[DeviceNode]:
    """The device nodes below a directory, without symbolic links and the parts of /dev that are the container's own."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            inside = f"{destination}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_DIRECTORIES:
                    yield from _tree(entry.path, inside)
            elif entry.name != "console" and not entry.is_symlink():
                node = _node(entry.path, inside)
                if node is not None:
                    yield node


def _node(path: str, destination: str) -> DeviceNode | None:
    try:
        state = os.lstat(path)
    except FileNotFoundError as error:
        raise NotFound(f"stat {path}: no such file or directory") from error
    if stat.S_ISCHR(state.st_mode):
        kind = "c"
    elif stat.S_ISBLK(state.st_mode):
        kind = "b"
    else:
        return None
    return DeviceNode(path=destination, kind=kind, major=os.major(state.st_rdev), minor=os.minor(state.st_rdev),
                      mode=state.st_mode, uid=state.st_uid, gid=state.st_gid, host_path=path)


def _device_numbers(config: ContainerConfig) -> dict[str, tuple[int, int]]:
    limits = config.resources
    numbers = {}
    for rate in (*limits.blkio_weight_device, *limits.device_read_bps, *limits.device_write_bps, *limits.device_read_iops,
                 *limits.device_write_iops):
        node = _node(os.path.realpath(rate.path), rate.path)
        if node is None:
            raise InvalidArgument(f"{rate.path} is not a valid device")
        numbers[rate.path] = (node.major, node.minor)
    return numbers


# --- mounts -----------------------------------------------------------------------------------------------------------


def _sources(config: ContainerConfig, facts: Facts) -> dict[str, str]:
    """Sources that are not the mount's own: overlays and images mounted for it, and directories inside volumes."""
    sources = dict(facts.image_mounts)
    for mount in config.mounts:
        if mount.subpath:
            root = sources.get(mount.destination) or facts.volumes.get(mount.source, mount.source)
            sources[mount.destination] = files.resolve_in_root(root, mount.subpath)
    return sources


def _destinations(config: ContainerConfig, facts: Facts) -> dict[str, str]:
    """Runtimes refuse a tmpfs behind a symbolic link of the image (/var/run -> /run): resolved inside the root."""
    found = {}
    for mount in config.mounts:
        if mount.kind == "tmpfs" and facts.rootfs:
            resolved = files.resolve_in_root(facts.rootfs, mount.destination)
            inside = resolved[len(facts.rootfs.rstrip("/")):] or "/"
            if inside != mount.destination:
                found[mount.destination] = inside
    return found


def _mount_flags(config: ContainerConfig, facts: Facts) -> dict[str, tuple[str, ...]]:
    """Flags of the file systems that bind mounts come from: inside a user namespace they cannot be taken off again."""
    found: dict[str, tuple[str, ...]] = {}
    for mount in config.mounts:
        source = mount_source(mount, facts)
        if mount.kind == "bind" and source not in found:
            flags = _flags(source)
            if flags:
                found[source] = flags
    return found


def _flags(path: str) -> tuple[str, ...] | None:
    try:
        flags = os.statvfs(path).f_flag
    except OSError:
        return None
    return tuple(word for bit, word in _FLAGS if flags & bit)
