"""containers.conf(5): the engine's defaults, as one record.

What nobody configured has Podman's default. Keys that podling does not use are left alone.
"""

from __future__ import annotations

import os

from podling.config import layers, values
from podling.errors import InvalidArgument
from podling.linux import cgroups
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

NAME = "containers.conf"
VARIABLE = "CONTAINERS_CONF"


class ContainersConf(Record):
    """The configuration. Sizes are bytes, times seconds unless a name says otherwise; "" and None mean: not configured."""

    # --- the table containers
    annotations: dict[str, str] = {}
    apparmor_profile: str = ""
    base_hosts_file: str = ""
    cgroupns: str = "private"                # host where there is no cgroup version 2
    cgroups: str = "enabled"
    container_name_as_hostname: bool = False
    default_capabilities: tuple[str, ...] = (
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP",
        "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT")
    default_sysctls: tuple[str, ...] = ("net.ipv4.ping_group_range=0 0",)
    default_ulimits: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    env_host: bool = False
    host_containers_internal_ip: str = ""
    http_proxy: bool = True
    init: bool = False
    init_path: str = ""
    interface_name: str = ""
    ipcns: str = "shareable"
    keyring: bool = True
    label: bool = True
    label_users: bool = False
    log_driver: str = "k8s-file"
    log_path: str = ""
    log_size_max: int = -1                   # negative: no limit
    log_tag: str = ""
    mounts: tuple[str, ...] = ()
    netns: str = "private"
    no_hostname: bool = False
    no_hosts: bool = False
    oom_score_adj: int | None = None
    pidns: str = "private"
    pids_limit: int = 2048                   # 0: no limit
    prepare_volume_on_create: bool = False
    privileged: bool = False
    read_only: bool = False
    seccomp_profile: str = ""
    shm_size: int = 65_536_000
    tz: str = ""
    umask: str = "0022"
    userns: str = ""
    userns_size: int = 65536
    utsns: str = "private"
    volumes: tuple[str, ...] = ()
    # --- the table secrets
    secrets_driver: str = "file"
    secrets_options: dict[str, str] = {}
    # --- the table network
    network_backend: str = ""
    netavark_plugin_dirs: tuple[str, ...] = ("/usr/local/libexec/netavark", "/usr/libexec/netavark", "/usr/local/lib/netavark",
                                             "/usr/lib/netavark")
    default_network: str = "podman"
    default_subnet: str = "10.88.0.0/16"
    default_subnet_pools: tuple[tuple[str, int], ...] = (
        ("10.89.0.0/16", 24), ("10.90.0.0/15", 24), ("10.92.0.0/14", 24), ("10.96.0.0/11", 24), ("10.128.0.0/9", 24))
    default_rootless_network_cmd: str = "slirp4netns"
    dns_bind_port: int = 0
    firewall_driver: str = ""
    network_config_dir: str = ""
    pasta_options: tuple[str, ...] = ()
    # --- the table engine
    cgroup_manager: str = "systemd"          # cgroupfs where systemd or cgroup version 2 is missing
    compat_api_enforce_docker_hub: bool = True
    compression_format: str = ""
    compression_level: int | None = None
    conmon_env_vars: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    conmon_path: tuple[str, ...] = (
        "/usr/libexec/podman/conmon", "/usr/local/libexec/podman/conmon", "/usr/local/lib/podman/conmon", "/usr/bin/conmon",
        "/usr/sbin/conmon", "/usr/local/bin/conmon", "/usr/local/sbin/conmon", "/run/current-system/sw/bin/conmon")
    detach_keys: str = "ctrl-p,ctrl-q"
    engine_env: tuple[str, ...] = ()         # for the programs that the engine starts
    events_container_create_inspect_data: bool = False
    events_logfile_max_size: int = 1_000_000
    events_logfile_path: str = ""
    events_logger: str = "file"
    exit_command_delay: int = 300
    healthcheck_events: bool = True
    helper_binaries_dir: tuple[str, ...] = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman",
                                            "/usr/lib/podman")
    hooks_dir: tuple[str, ...] = ("/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d")
    image_build_format: str = "oci"
    image_copy_tmp_dir: str = "/var/tmp"
    image_default_format: str = ""
    image_default_transport: str = "docker://"
    image_parallel_copies: int = 0           # 0: our own choice
    image_volume_mode: str = ""
    infra_command: str = ""
    infra_image: str = ""
    multi_image_archive: bool = False
    network_cmd_options: tuple[str, ...] = ()
    network_cmd_path: str = ""
    no_pivot_root: bool = False
    num_locks: int = 2048                    # read and ignored: locks are files
    platform_to_oci_runtime: dict[str, str] = {}
    pod_exit_policy: str = "continue"
    pull_policy: str = "missing"
    retry: int = 3
    retry_delay: int | None = None           # nanoseconds; None: growing with each attempt
    runtime: str = ""                        # "": the first that works
    runtimes: dict[str, tuple[str, ...]] = {
        "crun": ("/usr/bin/crun", "/usr/sbin/crun", "/usr/local/bin/crun", "/usr/local/sbin/crun", "/sbin/crun", "/bin/crun",
                 "/run/current-system/sw/bin/crun"),
        "runc": ("/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc", "/sbin/runc", "/bin/runc",
                 "/usr/lib/cri-o-runc/sbin/runc", "/run/current-system/sw/bin/runc"),
        "kata": ("/usr/bin/kata-runtime", "/usr/sbin/kata-runtime", "/usr/local/bin/kata-runtime",
                 "/usr/local/sbin/kata-runtime", "/sbin/kata-runtime", "/bin/kata-runtime", "/usr/bin/kata-qemu",
                 "/usr/bin/kata-fc"),
        "runsc": ("/usr/bin/runsc", "/usr/sbin/runsc", "/usr/local/bin/runsc", "/usr/local/sbin/runsc", "/bin/runsc",
                  "/sbin/runsc", "/run/current-system/sw/bin/runsc"),
        "krun": ("/usr/bin/krun", "/usr/local/bin/krun"),
        "youki": ("/usr/local/bin/youki", "/usr/bin/youki", "/bin/youki"),
    }
    runtimes_flags: dict[str, tuple[str, ...]] = {}
    runtime_supports_json: tuple[str, ...] = ("crun", "runc", "kata", "runsc", "krun", "youki")
    runtime_supports_kvm: tuple[str, ...] = ("kata", "kata-runtime", "kata-qemu", "kata-fc", "krun")
    runtime_supports_nocgroups: tuple[str, ...] = ("crun", "krun")
    service_timeout: int = 5
    static_dir: str = ""
    stop_timeout: int = 10
    tmp_dir: str = ""
    volume_path: str = ""
    volume_plugin_timeout: int = 5
    volume_plugins: dict[str, str] = {}


# Keys whose fields have the same names, by their kinds.
_KEYS = {
    ("containers", "text"): "apparmor_profile base_hosts_file cgroupns cgroups host_containers_internal_ip init_path "
                            "interface_name ipcns log_driver log_path log_tag netns pidns seccomp_profile tz umask userns "
                            "utsns",
    ("containers", "flag"): "container_name_as_hostname env_host http_proxy init keyring label label_users no_hostname "
                            "no_hosts prepare_volume_on_create privileged read_only",
    ("containers", "texts"): "annotations default_capabilities default_sysctls default_ulimits devices dns_options "
                             "dns_searches dns_servers env mounts volumes",
    ("containers", "number"): "oom_score_adj pids_limit",
    ("containers", "natural"): "userns_size",
    ("containers", "log size"): "log_size_max",
    ("containers", "size"): "shm_size",
    ("network", "text"): "network_backend default_network default_subnet default_rootless_network_cmd firewall_driver "
                         "network_config_dir",
    ("network", "texts"): "netavark_plugin_dirs pasta_options",
    ("network", "subnet pools"): "default_subnet_pools",
    ("network", "natural"): "dns_bind_port",
    ("engine", "text"): "compression_format detach_keys events_logfile_path events_logger image_build_format "
                        "image_copy_tmp_dir image_default_format image_default_transport image_volume_mode infra_command "
                        "infra_image network_cmd_path pod_exit_policy pull_policy runtime static_dir tmp_dir volume_path",
    ("engine", "flag"): "compat_api_enforce_docker_hub events_container_create_inspect_data healthcheck_events "
                        "multi_image_archive no_pivot_root",
    ("engine", "texts"): "conmon_env_vars conmon_path helper_binaries_dir hooks_dir network_cmd_options runtime_supports_json "
                         "runtime_supports_kvm runtime_supports_nocgroups",
    ("engine", "natural"): "exit_command_delay image_parallel_copies num_locks retry service_timeout stop_timeout "
                           "volume_plugin_timeout",
    ("engine", "number"): "compression_level",
    ("engine", "size"): "events_logfile_max_size",
    ("engine", "duration"): "retry_delay",
    ("engine", "cgroup manager"): "cgroup_manager",
    ("engine", "paths by name"): "runtimes runtimes_flags",
    ("engine", "texts by name"): "platform_to_oci_runtime volume_plugins",
}


def fields() -> dict[str, tuple[str, str]]:
    """Dotted key -> (field, kind)."""
    found = {f"{section}.{name}": (name, kind) for (section, kind), names in _KEYS.items() for name in names.split()}
    found["engine.env"] = ("engine_env", "texts")
    found["engine.init_path"] = ("engine_init_path", "text")
    found["secrets.driver"] = ("secrets_driver", "text")
    found["secrets.opts"] = ("secrets_options", "texts by name")
    return found


def load(env: Mapping[str, str], *, rootless: bool, home: str, cache: str = "",
         places: layers.Places | None = None, modules: Iterable[str] = ()) -> ContainersConf:
    """The configuration of this host and user.

    ``env``: the environment; ``cache``: a directory of ours for what was read, "" for none. Raises Corrupt with path, line and
    key for a file that cannot be understood. ``modules``: files that count more than all others, by path or by name.
    """
    where = places or layers.places(env, rootless=rootless, home=home)
    paths = layers.find(NAME, VARIABLE, env, where) + [_module(name, where) for name in modules]
    read: dict[str, Any] = layers.cached("containers", paths, cache, lambda tables: values.merge(tables, fields()))
    return decide(read, unified=os.path.exists(cgroups.ROOT + "/cgroup.controllers"), systemd=cgroups.systemd_is_running())


def _module(name: str, where: layers.Places) -> str:
    """The path of a module: as it is, or in one of the directories ``containers.conf.modules``."""
    directories = [where.user or layers.user_directory(os.environ, os.environ.get("HOME", "/")), where.administrator, where.vendor]
    candidates = [name] if name.startswith("/") else [f"{each}/{NAME}.modules/{name}" for each in directories]
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise InvalidArgument(f'could not resolve module "{name}": stat {candidates[0]}: no such file or directory')


def decide(read: dict[str, Any], *, unified: bool, systemd: bool) -> ContainersConf:
    """The record for what the files say, with the defaults that depend on the host: cgroup version 2 alone, systemd."""
    found = {name: values.frozen(value) for name, value in read.items()}
    if "annotations" in found:
        found["annotations"] = dict(_pair(text) for text in found["annotations"])
    if "default_capabilities" in found:
        names = (name.upper() for name in found["default_capabilities"])
        found["default_capabilities"] = tuple(name if name.startswith("CAP_") else f"CAP_{name}" for name in names)
    older_init_path = found.pop("engine_init_path", "")
    if not found.get("init_path"):
        found["init_path"] = older_init_path
    if "runtimes" in found:
        found["runtimes"] = {**ContainersConf().runtimes, **found["runtimes"]}
    found.setdefault("cgroupns", "private" if unified else "host")
    found.setdefault("cgroup_manager", "systemd" if unified and systemd else "cgroupfs")
    found["shm_size"] = found.get("shm_size") or 65_536_000
    return ContainersConf(**found)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()
