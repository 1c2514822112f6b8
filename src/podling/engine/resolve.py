"""From what was asked to what is decided: one pure function, where all precedence and all cross-option rules live.

Precedence: what the user said > what the image says > containers.conf > built in.
"""

from __future__ import annotations

from podling.engine.options import CreateOptions
from podling.errors import InvalidArgument, Unsupported
from podling.model import ContainerConfig, Healthcheck, ImageConfig, LogConfig, RestartPolicy
from podling.record import Record
from podling.values import limits, mounts, ports, signals
from podling.values.isolation import Namespace, NetworkAttachment, SecurityOptions
from podling.values.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from podling.config.containers import ContainersConf
    from podling.engine.idmaps import Decided, IdFacts

    T = TypeVar("T")

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERMINAL = "TERM=xterm"                      # which no container without a terminal has
MARK = "container=podman"                    # by which programs see that they are in a container
WITHOUT_PORTS = ("host", "none")             # network modes in which there is nothing to publish
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")


class Surroundings(Record):
    """What ``resolve`` must know of the host and the store; gathered by ``create`` before it decides."""

    id: str
    name: str
    created: int
    environ: dict[str, str] = {}             # the caller's environment
    env_files: tuple[tuple[str, ...], ...] = ()     # lines "NAME=value" of each --env-file
    label_files: tuple[tuple[str, ...], ...] = ()
    hostname: str = ""                       # the host's
    image_id: str = ""
    image_name: str = ""
    image_digest: str = ""
    image_store: str = ""
    log_path: str = ""
    init_path: str = ""                      # of the init program on the host
    runtime: str = ""
    runtime_path: str = ""
    runtime_flags: tuple[str, ...] = ()
    cgroup_manager: str = "cgroupfs"
    inherited: tuple[Mount, ...] = ()        # of --volumes-from, options applied
    volume_names: tuple[str, ...] = ()       # fresh names for anonymous volumes, more than enough
    capabilities: tuple[str, ...] = ()       # this process' bounding set
    joined: dict[str, str] = {}              # container name or id as asked -> full id
    rootless: bool = False
    blkio_weight: bool = True                # whether the kernel has a weight for block devices
    no_limits: str = ""                      # why no limit can be kept: "v1", "cgroupfs"
    delegated: tuple[str, ...] | None = None     # the controllers that an ordinary user may limit by; None: all
    user_ns: Namespace | None = None         # the user namespace that was asked for, None for none,
    ids: IdFacts | None = None               # and what its ids depend on


def check(options: CreateOptions) -> None:
    """Refuse options that contradict each other, before anything is pulled or made."""
    if options.rootfs and options.image == "":
        raise InvalidArgument("rootfs path is missing")
    if options.replace_existing and not options.name:
        raise InvalidArgument("cannot replace container without --name being set")
    if options.no_healthcheck and options.healthcheck is not None:
        raise InvalidArgument("cannot specify both --no-healthcheck and --health-cmd")
    if options.auto_remove and options.restart is not None and options.restart.name not in ("no", ""):
        raise InvalidArgument('the --rm option conflicts with --restart, when the restartPolicy is not "" and "no"')
    _check_network(options)
    _check_resources(options)
    if options.oom_score_adj is not None and not -1000 <= options.oom_score_adj <= 1000:
        raise InvalidArgument(f"invalid value {options.oom_score_adj} for --oom-score-adj: must be between -1000 and 1000")
    if options.personality and options.personality not in ("LINUX", "LINUX32"):
        raise InvalidArgument(f"unknown personality {options.personality}", hint="one of LINUX, LINUX32")
    if options.hostname and options.uts_ns is not None and options.uts_ns.mode == "host":
        raise InvalidArgument("cannot set hostname when running in the host UTS namespace: invalid configuration")
    if options.shm_size is not None and options.ipc_ns is not None and options.ipc_ns.mode == "host":
        raise InvalidArgument("cannot set shmsize when running in the {host } IPC Namespace: invalid configuration")
    if options.cgroups == "disabled" and options.resources != limits.Resources():
        raise InvalidArgument("cannot set resource limits with --cgroups=disabled")
    if options.uid_map or options.gid_map or options.subuid_name or options.subgid_name:
        from podling.engine import idmaps  # for containers with ids of their own alone

        idmaps.check(options)


def _check_network(options: CreateOptions) -> None:
    net = options.net_ns
    if options.no_hosts and options.hosts_file:
        raise InvalidArgument("--no-hosts and --hosts-file cannot be set together", hint="leave out one of them")
    if options.no_hosts and options.add_host:
        raise InvalidArgument("--no-hosts and --add-host cannot be set together", hint="leave out one of them")
    if net is not None and net.mode in ("none", "container") and (options.dns_servers or options.dns_search or options.dns_options):
        raise InvalidArgument(f"conflicting options: dns and the network mode: {net.mode}", hint="leave out the --dns options")
    if net is not None and net.mode == "container" and (options.ports or options.publish_all):
        raise InvalidArgument("cannot set port bindings on an existing container network namespace")
    if len(options.networks) > 1:
        for said, flag in ((options.ip, "--ip"), (options.ip6, "--ip6"), (options.mac_address, "--mac-address")):
            if said:
                raise InvalidArgument(f"{flag} can only be set for a single network: invalid argument",
                                      hint="say it for each network: --network NAME:ip=...,mac=...")


def _check_resources(options: CreateOptions) -> None:
    resources = options.resources
    if resources.memory is not None and resources.memory_swap is not None and 0 <= resources.memory_swap < resources.memory:
        raise InvalidArgument("minimum memoryswap limit should be larger than memory limit, see usage")
    if (resources.memory_swap or 0) > 0 and not resources.memory:
        raise InvalidArgument("you should always set a memory limit when using a memoryswap limit, see usage", hint="add --memory")
    if resources.memory_reservation and resources.memory and resources.memory < resources.memory_reservation:
        raise InvalidArgument("minimum memory limit cannot be less than memory reservation limit, see usage")


def resolve(options: CreateOptions, image: ImageConfig | None, conf: ContainersConf, host: Surroundings) -> ContainerConfig:
    """The container that results; pure. ``image`` is None for ``--rootfs``."""
    ids = _ids(options, host)
    command, entrypoint, arguments = _command(options, image)
    net_ns, networks = _network(options, conf, rootless=host.rootless)
    hostname = _hostname(options, conf, net_ns, host)
    user = (options.user if options.user is not None else (image.user if image else "")) or (ids.user if ids else "")
    decided_mounts = _mounts(options, image, conf, host)
    _check_idmapped(decided_mounts, host, ids)
    cap_default = conf.default_capabilities
    memory_defaults = _resources(options, conf, host=host)
    privileged = _first(options.privileged, conf.privileged)
    stop_signal = options.stop_signal or (signals.parse(image.stop_signal) if image and image.stop_signal else 15)
    return ContainerConfig(
        id=host.id, name=host.name, created=host.created,
        image_id=host.image_id, image_name=host.image_name, image_digest=host.image_digest, image_store=host.image_store,
        rootfs=options.image if options.rootfs else "",
        read_only=_first(options.read_only, conf.read_only),
        read_write_tmpfs=_first(options.read_write_tmpfs, True),
        command=command, entrypoint=entrypoint, cmd=arguments,
        env=_environment(options, image, conf, host),
        working_dir=options.working_dir or (image.working_dir if image else "") or "/", create_working_dir=not options.working_dir,
        user=user, group_add=options.group_add, umask=_first(options.umask, conf.umask),
        terminal=options.terminal, stdin_open=options.stdin_open, attach=options.attach,
        stop_signal=stop_signal, stop_timeout=_first(options.stop_timeout, conf.stop_timeout), timeout=options.timeout or 0,
        init=_first(options.init, conf.init), init_path=host.init_path,
        systemd=options.systemd or "true", passwd=_first(options.passwd, True), passwd_entry=options.passwd_entry or "",
        group_entry=options.group_entry or "", host_users=options.host_users,
        requires=tuple(host.joined[name] for name in options.requires),
        sd_notify=options.sd_notify or "container", personality=options.personality or "",
        tz=_first(options.tz, conf.tz),
        annotations={**conf.annotations, **options.annotations},
        labels=_labels(options, image, host),
        restart=options.restart or RestartPolicy(), healthcheck=_healthcheck(options, image),
        auto_remove=options.auto_remove, create_command=options.create_command,
        exposed_ports=tuple(sorted({*(image.exposed_ports if image else ()), *options.expose})),
        hostname=hostname, domainname=options.domainname or "",
        user_ns=ids.user_ns if ids else Namespace(mode="host"), uid_map=ids.uid_map if ids else (), gid_map=ids.gid_map if ids else (),
        net_ns=_joined(net_ns, host), pid_ns=_joined(options.pid_ns or _configured(conf.pidns), host),
        ipc_ns=_joined(options.ipc_ns or Namespace(mode=conf.ipcns or "shareable"), host),
        uts_ns=_joined(options.uts_ns or _configured(conf.utsns), host),
        cgroup_ns=_joined(options.cgroup_ns or _configured(conf.cgroupns), host),
        privileged=privileged,
        capabilities=limits.merge_capabilities(cap_default, options.cap_add, options.cap_drop, privileged=privileged,
                                               bounding=host.capabilities or limits.ALL_CAPABILITIES),
        cap_add=options.cap_add, cap_drop=options.cap_drop, security=_security(options, conf),
        networks=networks, ports=() if net_ns.mode in WITHOUT_PORTS else ports.merge_ports(options.ports), publish_all=options.publish_all,
        dns_servers=_first(options.dns_servers, tuple(conf.dns_servers)),
        dns_search=_first(options.dns_search, tuple(conf.dns_searches)),
        dns_options=_first(options.dns_options, tuple(conf.dns_options)),
        add_host=options.add_host, manage_hosts=not _first(options.no_hosts, conf.no_hosts),
        manage_resolv_conf=options.dns_servers != ("none",), manage_hostname=not (options.no_hostname or conf.no_hostname),
        hosts_file=options.hosts_file or "", chroot_dirs=tuple(mounts.clean_destination(path) for path in options.chroot_dirs),
        mounts=decided_mounts, devices=_devices(options, conf), device_cgroup_rules=options.device_cgroup_rules,
        shm_size=_first(options.shm_size, conf.shm_size), shm_size_systemd=options.shm_size_systemd or 0,
        rdt_class=options.rdt_class or "",
        resources=memory_defaults, ulimits=_ulimits(options, conf), oom_score_adj=_first(options.oom_score_adj, conf.oom_score_adj),
        sysctls=_sysctls(options, conf, net_ns), cgroup_parent=options.cgroup_parent or "",
        cgroup_manager=host.cgroup_manager, cgroups=options.cgroups or conf.cgroups or "enabled",
        runtime=host.runtime, runtime_path=host.runtime_path, runtime_flags=host.runtime_flags, log=_log(options, conf, host),
        conmon_pidfile=options.conmon_pidfile or "", pidfile=options.pidfile or "",
        cidfile=options.cidfile or "",
    )


def _ids(options: CreateOptions, host: Surroundings) -> Decided | None:
    """The container's user namespace; None where it has none of its own."""
    if host.user_ns is None or host.ids is None:
        return None
    from podling.engine import idmaps

    return idmaps.decide(options, host.user_ns, host.ids)


def _first(said: T | None, default: T) -> T:
    return default if said is None else said


def _configured(mode: str) -> Namespace:
    return Namespace(mode=mode or "private")


def _joined(namespace: Namespace, host: Surroundings) -> Namespace:
    """``container:NAME`` with the full id in place of the name."""
    if namespace.mode != "container":
        return namespace
    return namespace.replace(value=host.joined[namespace.value])


def _command(options: CreateOptions, image: ImageConfig | None) -> tuple[tuple[str, ...], tuple[str, ...] | None, tuple[str, ...]]:
    """(what is executed, its entrypoint part, its arguments part)."""
    if options.entrypoint is not None:
        entrypoint, arguments = options.entrypoint, options.command
    else:
        entrypoint = (image.entrypoint if image else None) or ()
        arguments = options.command or (image.cmd if image else None) or ()
    command = (*entrypoint, *arguments)
    if not command or command == ("",):
        raise InvalidArgument("no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
                              hint="name a command after the image")
    return command, entrypoint or None, arguments


def _environment(options: CreateOptions, image: ImageConfig | None, conf: ContainersConf, host: Surroundings) -> tuple[str, ...]:
    """The whole environment, in the order in which Podman lets one source override another."""
    env: dict[str, str] = {}
    for line in (DEFAULT_PATH, *((TERMINAL,) if options.terminal else ()), *conf.env, MARK):
        set_variable(env, line)
    for line in image.env if image else ():
        set_variable(env, line)
    if options.unset_env_all:
        env.clear()
    for name in options.unset_env:
        env.pop(name, None)
    if _first(options.env_host, conf.env_host):
        env.update(host.environ)
    if _first(options.http_proxy, conf.http_proxy):
        env.update({name: host.environ[name] for name in PROXY_VARIABLES if name in host.environ})
    for line in options.env_merge:
        name, _, value = line.partition("=")
        env[name] = _expand(value, env)
    for lines in host.env_files:
        for line in lines:
            set_variable(env, line, host.environ)
    for line in options.env:
        set_variable(env, line, host.environ)
    return tuple(f"{name}={value}" for name, value in env.items())


def set_variable(env: dict[str, str], line: str, environ: dict[str, str] | None = None) -> None:
    """Apply ``NAME=value``; with ``environ`` also ``NAME`` and ``PREFIX*``, taken from there."""
    name, separator, value = line.partition("=")
    if not name:
        raise InvalidArgument(f"invalid variable: \"{line}\"")
    if separator:
        env[name] = value
    elif environ is None:
        env[name] = ""
    elif name.endswith("*"):
        env.update({known: value for known, value in environ.items() if known.startswith(name[:-1])})
    elif name in environ:
        env[name] = environ[name]


def _expand(text: str, env: dict[str, str]) -> str:
    """``${NAME}`` and ``$NAME`` replaced, for ``--env-merge``."""
    result: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0:
            return "".join(result) + text[position:]
        result.append(text[position:dollar])
        if text[dollar + 1:dollar + 2] == "{" and "}" in text[dollar:]:
            end = text.index("}", dollar)
            result.append(env.get(text[dollar + 2:end], ""))
            position = end + 1
            continue
        end = dollar + 1
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        result.append(env.get(text[dollar + 1:end], "") if end > dollar + 1 else "$")
        position = end


def _labels(options: CreateOptions, image: ImageConfig | None, host: Surroundings) -> dict[str, str]:
    labels = dict(image.labels) if image else {}
    for lines in host.label_files:
        for line in lines:
            name, separator, value = line.partition("=")
            if separator:                        # a name alone is looked up in the environment, as in a file of variables
                labels[name] = value
            elif name in host.environ:
                labels[name] = host.environ[name]
    labels.update(options.labels)
    return labels


def _healthcheck(options: CreateOptions, image: ImageConfig | None) -> Healthcheck | None:
    asked = options.healthcheck
    if options.no_healthcheck or (asked is not None and asked.test == ("NONE",)):
        return None
    inherited = image.healthcheck if image else None
    if asked is None:
        return None if inherited is None or inherited.test == ("NONE",) else _complete(inherited)
    if not asked.test and inherited is None:
        raise InvalidArgument("--health-interval, --health-retries, --health-start-period and --health-timeout need --health-cmd")
    if inherited is None:
        return _complete(asked)
    return _complete(Healthcheck(
        test=asked.test or inherited.test, interval=asked.interval or inherited.interval, timeout=asked.timeout or inherited.timeout,
        start_period=asked.start_period or inherited.start_period, retries=asked.retries or inherited.retries))


def _complete(check: Healthcheck) -> Healthcheck:
    """Podman's values for what nobody said."""
    return check.replace(interval=check.interval or 30 * 10**9, timeout=check.timeout or 30 * 10**9, retries=check.retries or 3)


def _network(options: CreateOptions, conf: ContainersConf, *, rootless: bool) -> tuple[Namespace, tuple[NetworkAttachment, ...]]:
    """(network mode, networks joined)."""
    net_ns = options.net_ns or _configured(conf.netns)
    if net_ns.mode in ("private", "default", ""):
        net_ns = Namespace(mode=conf.default_rootless_network_cmd if rootless and not options.networks else "bridge")
    if net_ns.mode != "bridge":
        for said, flag in ((options.ip, "--ip"), (options.ip6, "--ip6"), (options.mac_address, "--mac-address"),
                           (options.network_aliases, "--network-alias")):
            if said:
                raise InvalidArgument(f"{flag} can only be set when the network mode is bridge: invalid argument",
                                      hint=f"it is {net_ns.mode}: leave out {flag}, or use --network NAME")
        return net_ns, ()
    default = conf.default_network or "podman"
    networks = tuple(n if n.network else n.replace(network=default)
                     for n in options.networks or (NetworkAttachment(network=default),))
    if options.ip or options.ip6 or options.mac_address or options.network_aliases:
        first = networks[0]
        if options.ip or options.ip6:
            first = first.replace(static_ips=tuple(ip for ip in (options.ip, options.ip6) if ip))
        if options.mac_address:
            first = first.replace(static_mac=options.mac_address)
        networks = (first, *networks[1:])
        if options.network_aliases:
            networks = tuple(n.replace(aliases=(*n.aliases, *options.network_aliases)) for n in networks)
    return net_ns, networks


def _security(options: CreateOptions, conf: ContainersConf) -> SecurityOptions:
    """With the configured filter of system calls where the user said nothing; a privileged container has none."""
    if options.security.seccomp or _first(options.privileged, conf.privileged) or not conf.seccomp_profile:
        return options.security
    return options.security.replace(seccomp=conf.seccomp_profile)


def _hostname(options: CreateOptions, conf: ContainersConf, net_ns: Namespace, host: Surroundings) -> str:
    if options.hostname:
        return options.hostname
    if (options.uts_ns is not None and options.uts_ns.mode == "host") or net_ns.mode == "host":
        return host.hostname
    return host.name.replace("_", "") if conf.container_name_as_hostname else host.id[:12]


def _mounts(options: CreateOptions, image: ImageConfig | None, conf: ContainersConf, host: Surroundings) -> tuple[Mount, ...]:
    """User's mounts, then --volumes-from, containers.conf and the image's volumes, each only where nothing is mounted yet."""
    decided = {mount.destination: mount for mount in options.mounts}
    configured = mounts.merge(volumes=tuple(conf.volumes), mounts=tuple(conf.mounts), tmpfs=())
    for mount in (*host.inherited, *configured):
        decided.setdefault(mount.destination, mount)
    mode = options.image_volume or conf.image_volume_mode or "anonymous"
    for path in image.volumes if image and mode != "ignore" else ():
        destination = mounts.clean_destination(path)
        if mode == "tmpfs":
            decided.setdefault(destination, Mount(kind="tmpfs", destination=destination, source="tmpfs",
                                                  options=("rprivate", "rw", "nodev", "exec", "nosuid")))
        else:
            decided.setdefault(destination, Mount(kind="volume", destination=destination,
                                                  options=("rprivate", "rw", "nodev", "exec", "nosuid", "rbind")))
    fresh = iter(host.volume_names)
    return tuple(mount.replace(source=next(fresh)) if mount.kind == "volume" and not mount.source else mount
                 for mount in decided.values())


def _check_idmapped(found: tuple[Mount, ...], host: Surroundings, ids: Decided | None) -> None:
    """Unsupported or InvalidArgument for idmapped mounts that cannot be made."""
    for mount in found:
        if mount.idmap is None:
            continue
        if host.rootless:
            raise Unsupported(f"the mount at {mount.destination} cannot be idmapped: the kernel lets nobody but the host's root map the "
                              "ids of its file systems", hint="leave out idmap; --userns=keep-id shows your files as yours, and the option "
                              "U gives them to the container's user")
        if not mount.idmap and (ids is None or not ids.uid_map):
            raise InvalidArgument(f"the option idmap of the mount at {mount.destination} needs a container with ids of its own",
                                  hint="add --userns=auto or --uidmap, or say which ids: idmap=uids=0-1000-1;gids=0-1000-1")


def _devices(options: CreateOptions, conf: ContainersConf) -> tuple[limits.Device, ...]:
    return (*(limits.parse_device(text) for text in conf.devices), *options.devices)


def _ulimits(options: CreateOptions, conf: ContainersConf) -> tuple[limits.Ulimit, ...]:
    """The user's list replaces the configured one limit by limit."""
    if options.ulimit_host:
        return ()
    decided = {limit.name: limit for limit in (limits.parse_ulimit(text) for text in conf.default_ulimits)}
    decided.update({limit.name: limit for limit in options.ulimits})
    return tuple(decided.values())


def _sysctls(options: CreateOptions, conf: ContainersConf, net_ns: Namespace) -> dict[str, str]:
    decided = {}
    for text in conf.default_sysctls:
        name, _, value = text.partition("=")
        if not (name.startswith("net.") and net_ns.mode in ("host", "container", "ns")):
            decided[name] = value
    for name, value in options.sysctls.items():
        if name.startswith("net.") and net_ns.mode == "host":
            raise InvalidArgument(f"sysctl {name}={value} can't be set since Network Namespace set to host: invalid argument")
        decided[name] = value
    return decided


def _resources(options: CreateOptions, conf: ContainersConf, *, host: Surroundings) -> limits.Resources:
    asked = options.resources
    if host.no_limits:
        if any(value and value != -1 for value in vars(asked).values()):
            raise _refused_limits(host.no_limits)
        return limits.Resources()
    if host.delegated is not None:
        _check_delegated(asked, host.delegated)
    if not host.blkio_weight:
        asked = asked.replace(blkio_weight=None)
    if asked.pids_limit is None and options.cgroups != "disabled" and "pids" in (host.delegated or ("pids",)):
        asked = asked.replace(pids_limit=conf.pids_limit)
    if asked.pids_limit == 0:
        asked = asked.replace(pids_limit=-1)
    if asked.memory and asked.memory_swap is None:
        asked = asked.replace(memory_swap=2 * asked.memory)   # as Docker and Podman: as much swap as memory
    return asked


def _check_delegated(asked: limits.Resources, delegated: tuple[str, ...]) -> None:
    """Unsupported, with what delegates it, for a limit whose controller the user's systemd does not have."""
    for name, value in vars(asked).items():
        controller = next((word for word in ("memory", "cpuset", "cpu", "pids") if name.removeprefix("kernel_").startswith(word)), "io")
        if value and value != -1 and name not in ("unified", "oom_kill_disable") and controller not in delegated:
            raise Unsupported(
                f"the cgroup controller {controller} is not delegated to this user, so that the limit {name} cannot be set",
                hint="as root: mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' "
                     ">/etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload; then log in again")


def _refused_limits(why: str) -> Unsupported:
    if why == "v1":
        return Unsupported("resource limits are not supported on cgroups V1 rootless systems",
                           hint="leave them out, run as root, or boot the host with systemd.unified_cgroup_hierarchy=1")
    return Unsupported("resource limits of rootless containers need a cgroup that is the user's own",
                       hint="use --cgroup-manager systemd in a login session, or name a delegated cgroup by --cgroup-parent")


def _log(options: CreateOptions, conf: ContainersConf, host: Surroundings) -> LogConfig:
    asked = options.log or LogConfig(driver="")
    driver = asked.driver or conf.log_driver
    driver = "k8s-file" if driver in ("json-file", "") else driver
    path = asked.path or (host.log_path if driver == "k8s-file" else "")
    size = options.log_max_size if options.log_max_size is not None else conf.log_size_max
    tag = "" if driver in ("none", "passthrough") else asked.tag or conf.log_tag
    return asked.replace(driver=driver, path=path, max_size=size, tag=tag)
