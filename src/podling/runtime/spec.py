"""The whole OCI specification (``config.json``) of a container, derived from what was decided and what turned out true.

Pure: no I/O, no defaults of its own beyond the shape that Podman gives its containers. The document is made anew for each
start and never read back as truth.
"""

from __future__ import annotations

from podling.runtime import mounts as mount_list
from podling.runtime import security
from podling.runtime.resources import devices, limits, rlimits
from podling.values.units import format_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.model import ContainerConfig, ExecConfig, Facts
    from podling.runtime.host import HostFacts

OCI_VERSION = "1.0.2"
CGROUP_PARENT = "/libpod_parent"
SYSTEMD_PARENT = "machine.slice"
# Ours -> the name that the specification uses
_NAMESPACES = (("pid", "pid"), ("net", "network"), ("ipc", "ipc"), ("uts", "uts"))
_JOINS = ("container", "ns", "pod")


def spec(config: ContainerConfig, facts: Facts, host: HostFacts) -> dict[str, Any]:
    """The OCI configuration of a container about to be created."""
    found = mount_list.mounts(config, facts, host)
    document: dict[str, Any] = {"ociVersion": OCI_VERSION, "process": _process(config, facts, host),
                                "root": {"path": facts.staged_root or facts.rootfs}}
    if config.read_only:
        document["root"]["readonly"] = True
    if _owns_uts(config):
        document["hostname"] = hostname(config, host)
    document["mounts"] = found
    document["annotations"] = _annotations(config, host)
    document["linux"] = _linux(config, facts, host, mount_list.root_propagation(found))
    return document


def hostname(config: ContainerConfig, host: HostFacts) -> str:
    """The container's host name: its own, the host's where it shares that network or UTS namespace, else its short id."""
    if config.uts_ns.mode == "host":
        return host.hostname
    if config.uts_ns.mode in _JOINS and host.joined_hostname:
        return host.joined_hostname
    return config.hostname or (host.hostname if config.net_ns.mode == "host" else config.id[:12])


def _owns_uts(config: ContainerConfig) -> bool:
    return config.uts_ns.mode != "host" and config.uts_ns.mode not in _JOINS


# --- the process ------------------------------------------------------------------------------------------------------


def _process(config: ContainerConfig, facts: Facts, host: HostFacts) -> dict[str, Any]:
    process: dict[str, Any] = {}
    if config.terminal:
        process["terminal"] = True
    process["user"] = _user(config, facts, host)
    process["args"] = [mount_list.INIT_PATH, "--", *config.command] if config.init else list(config.command)
    process["env"] = _env(config, facts, host)
    process["cwd"] = config.working_dir or "/"
    process["capabilities"] = capabilities(config, facts.uid, host)
    found = rlimits(config, host)
    if found:
        process["rlimits"] = found
    if config.security.no_new_privileges:
        process["noNewPrivileges"] = True
    if host.apparmor:
        process["apparmorProfile"] = host.apparmor
    if config.oom_score_adj is not None:
        # Below its own value a process without CAP_SYS_RESOURCE may not go.
        lowest = -1000 if host.may_raise_limits else host.oom_score_adj
        process["oomScoreAdj"] = max(config.oom_score_adj, lowest)
    return process


def _user(config: ContainerConfig, facts: Facts, host: HostFacts) -> dict[str, Any]:
    user: dict[str, Any] = {"uid": facts.uid, "gid": facts.gid}
    if config.umask:
        user["umask"] = int(config.umask, 8)
    groups = [gid for gid in facts.groups if mount_list.maps(config.gid_map or host.gid_map, gid)]
    if groups:
        user["additionalGids"] = groups
    return user


def _env(config: ContainerConfig, facts: Facts, host: HostFacts) -> list[str]:
    """The decided environment, completed by what is known only now, unless the user set it."""
    env = list(config.env)
    names = {entry.partition("=")[0] for entry in env}
    if facts.home and "HOME" not in names:
        env.append(f"HOME={facts.home}")
    if mount_list.runs_systemd(config) and "container_uuid" not in names:
        env.append(f"container_uuid={config.id[:32]}")
    if facts.notify:
        env.append(f"NOTIFY_SOCKET={mount_list.NOTIFY}/notify.sock")
    if "HOSTNAME" not in names:
        env.append(f"HOSTNAME={hostname(config, host)}")
    return env


def capabilities(config: ContainerConfig, uid: int, host: HostFacts, *, added: Iterable[str] = ()) -> dict[str, Any]:
    """The capability sets: root has the whole bounding set, another user only what was added for it by name.

    Those are ambient too, since a program that is not setuid would lose them otherwise.
    """
    bounding = security.narrow(config.capabilities, host.capabilities)
    sets: dict[str, Any] = {"bounding": bounding}
    if uid == 0:
        sets["effective"] = sets["permitted"] = bounding
    else:
        own = security.narrow(security.normalised([*config.cap_add, *added], bounding), bounding)
        sets["effective"] = sets["permitted"] = own
        sets["inheritable"] = sets["ambient"] = own
    return {name: names for name, names in sets.items() if names}


# --- annotations ------------------------------------------------------------------------------------------------------


def _annotations(config: ContainerConfig, host: HostFacts) -> dict[str, str]:
    found = {"io.container.manager": "libpod",      # what hooks and tools that know Podman look for
             "org.opencontainers.image.stopSignal": str(config.stop_signal)}
    if config.created:
        found["io.kubernetes.cri-o.Created"] = format_rfc3339(config.created)
    if config.cgroup_manager == "systemd":
        found["org.systemd.property.KillSignal"] = str(config.stop_signal)
        found["org.systemd.property.TimeoutStopUSec"] = f"uint64 {config.stop_timeout * 1_000_000}"
    flags = (("autoremove", config.auto_remove), ("init", config.init), ("privileged", config.privileged),
             ("publish-all", config.publish_all))
    for name, said in flags:
        if said:
            found[f"io.podman.annotations.{name}"] = "TRUE"
    found.update(config.annotations)
    if host.seccomp_bpf:
        found["run.oci.seccomp_bpf_data"] = host.seccomp_bpf
    return found


# --- linux ------------------------------------------------------------------------------------------------------------


def _linux(config: ContainerConfig, facts: Facts, host: HostFacts, propagation: str) -> dict[str, Any]:
    linux: dict[str, Any] = {}
    uid_map, gid_map = _id_maps(config)
    if uid_map:
        linux["uidMappings"], linux["gidMappings"] = uid_map, gid_map
    sysctls = _sysctls(config)
    if sysctls:
        linux["sysctl"] = sysctls
    if config.cgroups != "disabled":
        found = limits(config, host)
        if found:
            linux["resources"] = found
        path = cgroups_path(config, host)
        if path:
            linux["cgroupsPath"] = path
    linux["namespaces"] = _namespaces(config, facts)
    if config.personality:
        linux["personality"] = {"domain": config.personality}
    if config.rdt_class:
        linux["intelRdt"] = {"closID": config.rdt_class}
    nodes = devices(host)
    if nodes:
        linux["devices"] = nodes
    if host.seccomp is not None and not host.seccomp_bpf:
        linux["seccomp"] = host.seccomp
    if propagation:
        linux["rootfsPropagation"] = propagation
    masked, read_only = security.masked_paths(config), security.read_only_paths(config)
    if mount_list.runs_systemd(config) and host.systemd_cgroup_flags is not None:
        masked.append("/sys/fs/cgroup/systemd/release_agent")
    if masked:
        linux["maskedPaths"] = masked
    if read_only:
        linux["readonlyPaths"] = read_only
    return linux


def _id_maps(config: ContainerConfig) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    if config.user_ns.mode in _JOINS and not config.uid_map:
        # runc wants a map even where a namespace is joined that has one
        single = [{"containerID": 0, "hostID": 0, "size": 1}]
        return single, single
    return _id_map(config.uid_map), _id_map(config.gid_map or config.uid_map)


def _id_map(lines: Iterable[str]) -> list[dict[str, int]]:
    fields = [[int(field) for field in line.split(":")] for line in lines]
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in fields]


def _sysctls(config: ContainerConfig) -> dict[str, str]:
    sysctls = dict(config.sysctls)
    if config.domainname and _owns_uts(config):
        sysctls.setdefault("kernel.domainname", config.domainname)
    return sysctls


def cgroups_path(config: ContainerConfig, host: HostFacts) -> str:
    """The container's cgroup as the runtime wants it named; "" leaves it to the runtime."""
    if config.cgroups == "disabled":
        return ""
    if config.cgroups == "split":
        return f"{host.own_cgroup}/libpod-payload-{config.id}"
    if config.cgroup_manager == "systemd":
        slice_ = config.cgroup_parent.rstrip("/").rpartition("/")[2] or ("user.slice" if host.rootless else SYSTEMD_PARENT)
        return f"{slice_}:libpod:{config.id}"
    if host.rootless and not config.cgroup_parent:
        return ""
    return f"{config.cgroup_parent.rstrip('/') or CGROUP_PARENT}/libpod-{config.id}"


def _namespaces(config: ContainerConfig, facts: Facts) -> list[dict[str, str]]:
    found = []
    modes = {"pid": config.pid_ns, "net": config.net_ns, "ipc": config.ipc_ns, "uts": config.uts_ns}
    for ours, name in _NAMESPACES:
        if modes[ours].mode == "host":
            continue
        path = facts.namespaces.get(name) or (facts.netns if name == "network" else "")
        if not path and modes[ours].mode == "ns":
            path = modes[ours].value
        found.append({"type": name, "path": path} if path else {"type": name})
    found.append({"type": "mount"})
    if mount_list.has_user_namespace(config):
        path = facts.namespaces.get("user", "") or (config.user_ns.value if config.user_ns.mode == "ns" else "")
        found.append({"type": "user", "path": path} if path else {"type": "user"})
    if config.cgroup_ns.mode != "host":
        path = facts.namespaces.get("cgroup", "") or (config.cgroup_ns.value if config.cgroup_ns.mode == "ns" else "")
        found.append({"type": "cgroup", "path": path} if path else {"type": "cgroup"})
    return found


# --- exec -------------------------------------------------------------------------------------------------------------


def process(command: ExecConfig, config: ContainerConfig, facts: Facts, host: HostFacts) -> dict[str, Any]:
    """The OCI process of a command in a running container; ``facts`` are of the user that runs it.

    Root, and whoever asks for a privileged command, has the container's capabilities.
    """
    if command.privileged:
        everything = list(host.capabilities)
        sets: dict[str, Any] = {"bounding": everything, "effective": everything, "permitted": everything}
        if facts.uid != 0:
            sets["inheritable"] = sets["ambient"] = everything
    else:
        sets = capabilities(config, facts.uid, host)
    env = list(command.env)
    names = {entry.partition("=")[0] for entry in env}
    if facts.home and "HOME" not in names:
        env.append(f"HOME={facts.home}")
    found: dict[str, Any] = {"user": _user(config, facts, host), "args": list(command.command), "env": env,
                             "cwd": command.working_dir or config.working_dir or "/", "capabilities": sets}
    if command.terminal:
        found["terminal"] = True
    limits_ = rlimits(config, host)
    if limits_:
        found["rlimits"] = limits_
    if config.security.no_new_privileges and not command.privileged:
        found["noNewPrivileges"] = True
    if host.apparmor:
        found["apparmorProfile"] = host.apparmor
    if config.oom_score_adj is not None:
        found["oomScoreAdj"] = max(config.oom_score_adj, -1000 if host.may_raise_limits else host.oom_score_adj)
    return found
