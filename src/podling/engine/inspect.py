"""``inspect``: a container in the shape of Podman's JSON, key for key and in its order."""

from __future__ import annotations

from podling import jsontext
from podling.engine.shapes import Struct, Time, exists_or_empty, or_null
from podling.errors import NoSuchContainer, NoSuchNetwork
from podling.linux import files
from podling.runtime import sessions
from podling.runtime.mounts import INIT_PATH
from podling.values import limits, signals, units
from podling.values.mounts import complete_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine.engine import Engine
    from podling.model import Container, ContainerConfig, ContainerState, Healthcheck, NetworkStatus
    from podling.values.isolation import Namespace, NetworkAttachment
    from podling.values.limits import DeviceRate
    from podling.values.mounts import Mount

_HIDDEN_ANNOTATIONS = ("run.oci.seccomp_bpf_data",)    # a compiled filter of many kilobytes
_DEFAULT_CPU_PERIOD = 100000
OCI_VERSION = "1.0.2"                        # as in runtime.spec, which takes a millisecond to load


class _Subject:
    """A container under inspection: what is stored of it, and the specification it runs with ({} while it does not run)."""

    def __init__(self, engine: Engine, container: Container) -> None:
        self.engine = engine
        self.container = container
        self.config = engine.containers.config(container.id)
        self.state = engine.containers.state(container.id)
        self.run = engine.paths.run(container.id)
        self.spec = self._read_spec() if self.state.status in ("running", "paused", "stopping") else {}

    def _read_spec(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = jsontext.loads(files.read_bytes(self.run + "/config.json"))
        except FileNotFoundError:                # it ended this very moment
            return {}
        return document

    @property
    def is_up(self) -> bool:
        return bool(self.spec)


def inspect_container(engine: Engine, container: Container, *, size: bool = False) -> dict[str, Any]:
    """All that is known of a container. ``size``: with ``SizeRw`` and ``SizeRootFs``, which means walking its files."""
    subject = _Subject(engine, container)
    config, run = subject.config, subject.run
    init = (INIT_PATH, "--") if config.init else ()
    command = (*init, *config.command)
    found = Struct({
        "Id": config.id, "Created": Time(config.created), "Path": command[0] if command else "", "Args": list(command[1:]),
        "State": _state(subject), "Image": config.image_id, "ImageDigest": config.image_digest, "ImageName": config.image_name,
        "Rootfs": config.rootfs, "Pod": container.pod_id,
        "ResolvConfPath": exists_or_empty(run + "/resolv.conf"), "HostnamePath": exists_or_empty(run + "/hostname"),
        "HostsPath": exists_or_empty(run + "/hosts"), "StaticDir": engine.paths.container(config.id),
        **({"OCIConfigPath": run + "/config.json"} if subject.is_up else {}),
        "OCIRuntime": config.runtime, "ConmonPidFile": config.conmon_pidfile or run + "/conmon.pid",
        "PidFile": config.pidfile or run + "/pidfile", "Name": config.name, "RestartCount": subject.state.restart_count,
        "Driver": engine.filesystems.driver, "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": config.security.apparmor,
        "EffectiveCaps": _effective(subject), "BoundingCaps": or_null(_bounding(subject)),
        "ExecIDs": sessions.ids(subject.run) if subject.is_up else [], "GraphDriver": _graph_driver(subject),
    })
    if size:
        found.update(_sizes(subject))
    found.update({
        "Mounts": [*_shown_mounts(subject)], "Dependencies": engine.containers.needs(config.id),
        "NetworkSettings": _network_settings(subject), "Namespace": "", "IsInfra": container.is_infra, "IsService": False,
        "KubeExitCodePropagation": "invalid", "lockNumber": 0, "Config": _config(subject), "HostConfig": _host_config(subject),
        "UseImageHosts": not config.manage_hosts, "UseImageHostname": not config.manage_hostname,
    })
    return found


# --- state, file system, capabilities ---------------------------------------------------------------------------------


def _state(subject: _Subject) -> Struct:
    state, config = subject.state, subject.config
    running = state.status in ("running", "stopping")
    found = Struct({
        "OciVersion": OCI_VERSION, "Status": state.status, "Running": running, "Paused": state.status == "paused",
        "Restarting": False, "OOMKilled": state.oom_killed, "Dead": False, "Pid": state.pid,
    })
    if state.conmon_pid:
        found["ConmonPid"] = state.conmon_pid
    found.update({"ExitCode": state.exit_code, "Error": state.error, "StartedAt": Time(state.started),
                  "FinishedAt": Time(state.finished)})
    if config.healthcheck is not None:
        found["Health"] = Struct({"Status": "starting" if running else "", "FailingStreak": 0, "Log": None})
    cgroup = subject.spec.get("linux", {}).get("cgroupsPath", "")
    if cgroup:
        found["CgroupPath"] = shown_cgroup(cgroup)
    found.update({"CheckpointedAt": Time(0), "RestoredAt": Time(0)})
    if state.stopped_by_user:
        found["StoppedByUser"] = True
    return found


def shown_cgroup(path: str) -> str:
    """A cgroup of the specification as a path: systemd's ``slice:libpod:ID`` is ``/slice/libpod-ID.scope``."""
    if ":" not in path:
        return path
    slice_, prefix, name = path.split(":", 2)
    return f"/{slice_}/{prefix}-{name}.scope"


def _bounding(subject: _Subject) -> list[str]:
    if subject.is_up:
        return list(subject.spec["process"].get("capabilities", {}).get("bounding", ()))
    return sorted(subject.config.capabilities)


def _effective(subject: _Subject) -> list[str] | None:
    """Root has the bounding set, another user nothing but what was added for it."""
    if subject.is_up:
        return list(subject.spec["process"].get("capabilities", {}).get("effective", ())) or None
    user = subject.config.user.partition(":")[0]
    if user in ("", "0", "root"):
        return _bounding(subject) or None
    return sorted(limits.normalise_capability(name) for name in subject.config.cap_add) or None


def _graph_driver(subject: _Subject) -> Struct:
    engine, config = subject.engine, subject.config
    data = {}
    if not config.rootfs:
        places = engine.filesystems.places(config.id)
        data["LowerDir"] = ":".join(engine.images.layer_directories(config.image_id, config.image_store))
        if subject.is_up:
            data["MergedDir"] = places.merged
        data.update({"UpperDir": places.upper, "WorkDir": places.work})
    return Struct({"Name": engine.filesystems.driver, "Data": or_null(data)})


def _sizes(subject: _Subject) -> dict[str, int]:
    config = subject.config
    own = subject.engine.filesystems.size(config.id)
    below = 0 if config.rootfs else subject.engine.images.size(config.image_id, config.image_store)
    return {"SizeRw": own, "SizeRootFs": own + below}


# --- mounts -----------------------------------------------------------------------------------------------------------


def _shown_mounts(subject: _Subject) -> list[Struct]:
    """Volumes, then images, then bind mounts; tmpfs is in HostConfig alone."""
    mounts = subject.config.mounts
    shown = [_volume_mount(subject, mount) for mount in mounts if mount.kind == "volume"]
    shown += [Struct({"Type": "image", "Source": mount.source, "Destination": mount.destination, "Driver": "", "Mode": "",
                      "Options": None, "RW": mount.read_write, "Propagation": ""}) for mount in mounts if mount.kind == "image"]
    binds = [mount for mount in mounts if mount.kind == "bind"]
    return shown + [described_mount(mount, {"Type": "bind", "Source": mount.source, "Destination": mount.destination,
                                            "Driver": ""}) for mount in binds]


def _volume_mount(subject: _Subject, mount: Mount) -> Struct:
    mountpoint = f"{subject.engine.paths.volumes}/{mount.source}/_data"
    found = described_mount(mount, {"Type": "volume", "Name": mount.source, "Source": mountpoint,
                                    "Destination": mount.destination, "Driver": "local"})
    if mount.subpath:
        found["SubPath"] = mount.subpath
    return found


def described_mount(mount: Mount, head: dict[str, Any]) -> Struct:
    """A mount whose options are sorted into their fields; ``head`` are the fields before them."""
    options, mode, propagation, writable = [], "", "", True
    for option in _options(mount):
        if option in ("ro", "rw"):
            writable = option == "rw"
        elif option in ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"):
            propagation = option
        elif option in ("z", "Z"):
            mode = option
        else:
            options.append(option)
    return Struct({**head, "Mode": mode, "Options": options, "RW": writable, "Propagation": propagation})


def _options(mount: Mount) -> tuple[str, ...]:
    return complete_options(mount, source_flags=("nosuid", "nodev") if mount.kind in ("volume", "tmpfs") else ())


# --- network ----------------------------------------------------------------------------------------------------------


def _network_settings(subject: _Subject) -> Struct:
    config, state = subject.config, subject.state
    if config.net_ns.mode == "container":
        owner = _joined(subject.engine, config.net_ns.value)
        if owner is not None:
            config, state = owner
    networks = {network.network: _network(subject.engine, config, network, state.network.get(network.network))
                for network in config.networks}
    # as in Docker, only the default network's; of slirp4netns and pasta nobody outside can use the addresses
    shown = {name: status for name, status in state.network.items() if name == subject.engine.networks.default_name}
    if config.net_ns.mode in ("host", "none", "slirp4netns", "pasta") or (config.net_ns.mode == "bridge" and not networks):
        shown = {}
        networks = {config.net_ns.mode: Struct({"EndpointID": "", **addresses(None), "NetworkID": config.net_ns.mode,
                                                "DriverOpts": None, "IPAMConfig": None, "Links": None})}
    first = next(iter(shown.values())) if len(shown) == 1 and len(networks) == 1 else None
    return Struct({
        "EndpointID": "", **addresses(first), "Bridge": "", "SandboxID": "", "HairpinMode": False, "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0, "Ports": _port_bindings(config, exposed=config.net_ns.mode != "none"),
        "SandboxKey": _netns(subject),
        **({"Networks": networks} if networks else {}),
    })


def _joined(engine: Engine, container_id: str) -> tuple[ContainerConfig, ContainerState] | None:
    try:
        return engine.containers.config(container_id), engine.containers.state(container_id)
    except NoSuchContainer:
        return None


def _netns(subject: _Subject) -> str:
    for namespace in subject.spec.get("linux", {}).get("namespaces", ()):
        if namespace["type"] == "network":
            path: str = namespace.get("path", "")
            return path
    return ""


def _network(engine: Engine, config: ContainerConfig, attachment: NetworkAttachment, status: NetworkStatus | None) -> Struct:
    try:
        network_id = engine.networks.get(attachment.network).id
    except NoSuchNetwork:
        network_id = attachment.network
    aliases = [*attachment.aliases, config.id[:12]]
    if config.hostname and config.hostname not in aliases:
        aliases.append(config.hostname)
    return Struct({"EndpointID": "", **addresses(status), "NetworkID": network_id, "DriverOpts": None, "IPAMConfig": None,
                   "Links": None, "Aliases": aliases})


def addresses(status: NetworkStatus | None) -> dict[str, Any]:
    """What one network gave, the first address of each family; empty values for no network."""
    given = [address.partition("/") for address in status.addresses] if status else []
    gateways = status.gateways if status else ()
    old = next((address for address in given if ":" not in address[0]), ("", "", "0"))
    new = next((address for address in given if ":" in address[0]), ("", "", "0"))
    return {
        "Gateway": next((gateway for gateway in gateways if ":" not in gateway), ""),
        "IPAddress": old[0], "IPPrefixLen": int(old[2] or 0),
        "IPv6Gateway": next((gateway for gateway in gateways if ":" in gateway), ""),
        "GlobalIPv6Address": new[0], "GlobalIPv6PrefixLen": int(new[2] or 0),
        "MacAddress": status.mac_address if status else "",
    }


def _port_bindings(config: ContainerConfig, *, exposed: bool) -> dict[str, list[Struct] | None]:
    """``80/tcp`` -> host address and port, sorted; with ``exposed`` also the ports that are published nowhere."""
    found: dict[str, list[Struct] | None] = {}
    for port in config.ports:
        for offset in range(port.length):
            bindings = found.setdefault(f"{port.container_port + offset}/{port.protocol}", [])
            assert bindings is not None
            bindings.append(Struct({"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port + offset)}))
    for name in config.exposed_ports if exposed else ():
        found.setdefault(name, None)
    return dict(sorted(found.items()))


# --- Config -----------------------------------------------------------------------------------------------------------


def _config(subject: _Subject) -> Struct:
    config = subject.config
    process = subject.spec.get("process", {})
    found = Struct({
        "Hostname": subject.spec.get("hostname", config.hostname or config.id[:12]), "Domainname": config.domainname,
        "User": config.user, **{f"Attach{name.capitalize()}": name in config.attach for name in ("stdin", "stdout", "stderr")},
        "Tty": config.terminal, "OpenStdin": config.stdin_open, "StdinOnce": False,
        "Env": or_null(list(process.get("env", config.env))), "Cmd": or_null(list(config.cmd)), "Image": config.image_name,
        "Volumes": None, "WorkingDir": config.working_dir or "/", "Entrypoint": or_null(list(config.entrypoint or ())),
        "OnBuild": None, "Labels": or_null(_sorted(config.labels)), "Annotations": or_null(_annotations(subject)),
        "StopSignal": signals.name(config.stop_signal),
    })
    if config.healthcheck is not None:
        found["Healthcheck"] = health(config.healthcheck)
    found.update({"HealthcheckOnFailureAction": "none", "HealthLogDestination": "local", "HealthcheckMaxLogCount": 5,
                  "HealthcheckMaxLogSize": 500})
    if config.create_command:
        found["CreateCommand"] = list(config.create_command)
    if config.tz:
        found["Timezone"] = config.tz
    found.update({"Umask": config.umask.rjust(4, "0"), "Timeout": config.timeout, "StopTimeout": config.stop_timeout,
                  "Passwd": config.passwd})
    if config.chroot_dirs:
        found["ChrootDirs"] = list(config.chroot_dirs)
    found["sdNotifyMode"] = config.sd_notify
    exposed = {**_port_bindings(config, exposed=True)}
    if exposed:
        found["ExposedPorts"] = {name: Struct() for name in exposed}
    return found


def _sorted(values: dict[str, str]) -> dict[str, str]:
    return dict(sorted(values.items()))


def _annotations(subject: _Subject) -> dict[str, str]:
    config = subject.config
    if subject.is_up:
        found = dict(subject.spec.get("annotations", {}))
    else:
        flags = (("autoremove", config.auto_remove), ("init", config.init), ("privileged", config.privileged),
                 ("publish-all", config.publish_all))
        found = {**config.annotations, **{f"io.podman.annotations.{name}": "TRUE" for name, said in flags if said}}
    security = config.security
    labels = ["disable"] if security.label_disable else list(security.label_options)
    for name, value in (("label", ",".join(labels)), ("seccomp", security.seccomp), ("apparmor", security.apparmor)):
        if value:
            found[f"io.podman.annotations.{name}"] = value
    return {name: value for name, value in sorted(found.items()) if name not in _HIDDEN_ANNOTATIONS}


def health(check: Healthcheck) -> Struct:
    """A health check as in Docker's image configurations: times in nanoseconds, absent where not set."""
    fields = {"Test": list(check.test), "StartPeriod": check.start_period, "Interval": check.interval, "Timeout": check.timeout,
              "Retries": check.retries}
    return Struct({name: value for name, value in fields.items() if value})


# --- HostConfig -------------------------------------------------------------------------------------------------------


def _host_config(subject: _Subject) -> Struct:
    config = subject.config
    added, dropped = _changed_capabilities(subject)
    found = Struct({
        "Binds": _binds(config), "CgroupManager": config.cgroup_manager, "CgroupMode": _namespace(config.cgroup_ns),
        "ContainerIDFile": config.cidfile, "LogConfig": _log_config(config), "NetworkMode": _namespace(config.net_ns),
        "PortBindings": _port_bindings(config, exposed=False),
        "RestartPolicy": Struct({"Name": config.restart.name, "MaximumRetryCount": config.restart.retries}),
        "AutoRemove": config.auto_remove, "AutoRemoveImage": False, "Annotations": or_null(_annotations(subject)),
        "VolumeDriver": "", "VolumesFrom": None, "CapAdd": added, "CapDrop": dropped, "Dns": list(config.dns_servers),
        "DnsOptions": list(config.dns_options), "DnsSearch": list(config.dns_search), "ExtraHosts": list(config.add_host),
        "HostsFile": config.hosts_file, "GroupAdd": list(config.group_add), "IpcMode": _namespace(config.ipc_ns), "Cgroup": "",
        "Cgroups": "disabled" if config.cgroups == "disabled" else "default", "Links": None,
        "OomScoreAdj": config.oom_score_adj or 0, "PidMode": _namespace(config.pid_ns), "Privileged": config.privileged,
        "PublishAllPorts": config.publish_all, "ReadonlyRootfs": config.read_only, "SecurityOpt": _security_options(config),
        "Tmpfs": {mount.destination: ",".join(_options(mount)) for mount in config.mounts if mount.kind == "tmpfs"},
        "UTSMode": _namespace(config.uts_ns), "UsernsMode": _user_namespace(config),
        **({"IDMappings": Struct({"UidMap": list(config.uid_map), "GidMap": list(config.gid_map)})} if config.uid_map else {}),
        "ShmSize": config.shm_size, "Runtime": "oci", "ConsoleSize": [0, 0], "Isolation": "",
    })
    found.update(_resources(subject))
    return found


def _changed_capabilities(subject: _Subject) -> tuple[list[str], list[str]]:
    """What was added to the default set and what was dropped from it."""
    bounding = set(_bounding(subject))
    if subject.config.privileged:
        return [], sorted(set(limits.ALL_CAPABILITIES) - bounding)
    default = {limits.normalise_capability(name) for name in subject.engine.conf.default_capabilities}
    return sorted(bounding - default), sorted(default - bounding)


def _binds(config: ContainerConfig) -> list[str]:
    volumes = [mount for mount in config.mounts if mount.kind == "volume"]
    binds = [mount for mount in config.mounts if mount.kind == "bind"]
    return [f"{mount.source}:{mount.destination}:{','.join(_options(mount))}" for mount in (*volumes, *binds)]


def _namespace(namespace: Namespace) -> str:
    return f"{namespace.mode}:{namespace.value}" if namespace.mode in ("container", "ns") else namespace.mode


def _user_namespace(config: ContainerConfig) -> str:
    """Who made it, if anybody: how its ids were chosen is told by the maps."""
    if config.user_ns.mode in ("host", ""):
        return ""
    return _namespace(config.user_ns) if config.user_ns.mode in ("container", "ns") else "private"


def _log_config(config: ContainerConfig) -> Struct:
    log = config.log
    return Struct({"Type": log.driver, "Config": None, "Path": log.path, "Tag": log.tag,
                   "Size": units.format_size(max(log.max_size, 0), digits=4, separator="")})


def _security_options(config: ContainerConfig) -> list[str]:
    security = config.security
    found = ["label=disable"] if security.label_disable else []
    found += [f"label={option}" for option in security.label_options]
    found += [f"seccomp={security.seccomp}"] if security.seccomp else []
    found += [f"apparmor={security.apparmor}"] if security.apparmor else []
    found += ["no-new-privileges"] if security.no_new_privileges else []
    found += [f"mask={':'.join(security.mask)}"] if security.mask else []
    if config.privileged or "ALL" in security.unmask:
        found.append("unmask=all")
    elif security.unmask:
        found.append(f"unmask={':'.join(security.unmask)}")
    return found


def _resources(subject: _Subject) -> Struct:
    config = subject.config
    asked = config.resources
    memory = (asked.memory, asked.memory_swap, asked.memory_reservation, asked.kernel_memory)
    swappiness = -1 if asked.oom_kill_disable or any(value is not None for value in memory) else 0
    nano_cpus = (asked.cpu_quota or 0) * 10000 if asked.cpu_period == _DEFAULT_CPU_PERIOD else 0
    blkio = (asked.blkio_weight, asked.blkio_weight_device, asked.device_read_bps, asked.device_write_bps,
             asked.device_read_iops, asked.device_write_iops)
    found = Struct({
        "CpuShares": asked.cpu_shares or 0, "Memory": asked.memory or 0, "NanoCpus": nano_cpus,
        "CgroupParent": config.cgroup_parent, "BlkioWeight": asked.blkio_weight or 0,
        "BlkioWeightDevice": [Struct({"Path": rate.path, "Weight": rate.rate}) for rate in asked.blkio_weight_device],
        "BlkioDeviceReadBps": _rates(asked.device_read_bps), "BlkioDeviceWriteBps": _rates(asked.device_write_bps),
        "BlkioDeviceReadIOps": _rates(asked.device_read_iops), "BlkioDeviceWriteIOps": _rates(asked.device_write_iops),
        "CpuPeriod": asked.cpu_period or 0, "CpuQuota": asked.cpu_quota or 0, "CpuRealtimePeriod": asked.cpu_rt_period or 0,
        "CpuRealtimeRuntime": asked.cpu_rt_runtime or 0, "CpusetCpus": asked.cpuset_cpus, "CpusetMems": asked.cpuset_mems,
        "Devices": [Struct({"PathOnHost": device.host_path, "PathInContainer": device.container_path, "CgroupPermissions": ""})
                    for device in config.devices],
        "DiskQuota": 0, "KernelMemory": asked.kernel_memory or 0, "MemoryReservation": asked.memory_reservation or 0,
        "MemorySwap": asked.memory_swap or 0,
        "MemorySwappiness": swappiness if asked.memory_swappiness is None else asked.memory_swappiness,
        "OomKillDisable": asked.oom_kill_disable, **({"Init": True} if config.init else {}),
        "PidsLimit": max(asked.pids_limit or 0, 0),
        "Ulimits": _ulimits(subject),
        "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
        "CgroupConf": or_null(dict(asked.unified)),
    })
    if not any(blkio):
        found.update(dict.fromkeys(("BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
                                    "BlkioDeviceWriteIOps")))
    return found


def _ulimits(subject: _Subject) -> list[Struct]:
    """The limits that hold while the container runs, else those that were decided."""
    if subject.is_up:
        return [Struct({"Name": limit["type"], "Soft": limit["soft"], "Hard": limit["hard"]})
                for limit in subject.spec["process"].get("rlimits", ())]
    return [Struct({"Name": f"RLIMIT_{limit.name.upper()}", "Soft": limit.soft, "Hard": limit.hard})
            for limit in subject.config.ulimits]


def _rates(rates: tuple[DeviceRate, ...]) -> list[Struct]:
    return [Struct({"Path": rate.path, "Rate": rate.rate}) for rate in rates]
