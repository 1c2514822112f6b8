"""The records that are stored or shared between rows: images, containers, volumes, networks.

Times are integers of nanoseconds since 1970, UTC; sizes are bytes. Ids are hex strings without a prefix; digests carry
theirs (``sha256:...``).
"""

from __future__ import annotations

from podling.record import Record
from podling.values.isolation import Namespace, NetworkAttachment, SecurityOptions
from podling.values.limits import Device, Resources, Ulimit
from podling.values.mounts import Mount
from podling.values.ports import PortMapping

# --- images -----------------------------------------------------------------------------------------------------------


class Platform(Record):
    """An image's platform in Go's words: linux, amd64, "" or v8."""

    os: str
    architecture: str
    variant: str = ""


class Healthcheck(Record):
    """A health check; times in nanoseconds, 0 means not set. ``test``: ("NONE",), ("CMD", ...) or ("CMD-SHELL", text)."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


class ImageConfig(Record):
    """What an image says of how it runs (the ``config`` of its configuration), with where it comes from."""

    platform: Platform
    created: int = 0
    author: str = ""
    comment: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()      # "80/tcp"
    labels: dict[str, str] = {}
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()


class Image(Record):
    """An image in a store."""

    id: str                                  # hex digest of the configuration
    digest: str                              # of the manifest it was stored with
    names: tuple[str, ...] = ()              # fully qualified, with tag
    digest_names: tuple[str, ...] = ()       # "docker.io/library/nginx@sha256:...", where it was asked for by digest
    repo_digests: tuple[str, ...] = ()       # "docker.io/library/nginx@sha256:..."
    media_type: str = ""                     # of the manifest
    created: int = 0
    size: int = 0                            # unpacked layers
    read_only: bool = False                  # lives in an additional store
    store: str = ""                          # path of that store

    @property
    def all_names(self) -> tuple[str, ...]:
        """What keeps it from dangling."""
        return self.names + self.digest_names


# --- containers -------------------------------------------------------------------------------------------------------


class LogConfig(Record):
    """Where a container's output goes."""

    driver: str = "k8s-file"                 # k8s-file, json-file (the same), journald, none, passthrough
    path: str = ""
    max_size: int = -1                       # bytes; -1 unlimited
    tag: str = ""
    labels: dict[str, str] = {}


RESTART_POLICIES = ("always", "no", "on-failure", "unless-stopped")


class RestartPolicy(Record):
    """When an ended container starts again: no, always, on-failure, unless-stopped."""

    name: str = "no"
    retries: int = 0                         # on-failure: 0 means without end


class ContainerConfig(Record):
    """What was decided for a container when it was made; never changed by a start."""

    id: str
    name: str
    created: int
    # image and root file system
    image_id: str = ""
    image_name: str = ""
    image_digest: str = ""
    image_store: str = ""                    # path of the additional store that holds the image, "" for our own
    rootfs: str = ""                         # --rootfs: a directory instead of an image
    rootfs_overlay: bool = False
    read_only: bool = False
    read_write_tmpfs: bool = True            # tmpfs on /tmp, /run, /var/tmp with read_only
    # process
    command: tuple[str, ...]                 # entrypoint and arguments, as they are executed
    entrypoint: tuple[str, ...] | None = None   # for inspect
    cmd: tuple[str, ...] = ()                # for inspect: the arguments alone
    env: tuple[str, ...] = ()                # complete, in order, "NAME=value"
    working_dir: str = "/"
    create_working_dir: bool = True
    user: str = ""
    group_add: tuple[str, ...] = ()
    umask: str = "0022"
    terminal: bool = False
    stdin_open: bool = False
    attach: tuple[str, ...] = ()
    stop_signal: int = 15
    stop_timeout: int = 10                   # seconds
    timeout: int = 0                         # seconds until it is killed; 0 never
    init: bool = False
    init_path: str = ""
    systemd: str = "true"                    # true, false, always
    passwd: bool = True
    passwd_entry: str = ""
    group_entry: str = ""
    host_users: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()           # ids of containers that run before it does
    sd_notify: str = "container"             # container, conmon, ignore
    personality: str = ""
    tz: str = ""
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    restart: RestartPolicy = RestartPolicy()
    healthcheck: Healthcheck | None = None
    auto_remove: bool = False
    create_command: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    # isolation
    hostname: str = ""
    domainname: str = ""
    user_ns: Namespace = Namespace(mode="host")
    uid_map: tuple[str, ...] = ()            # "container:host:size"
    gid_map: tuple[str, ...] = ()
    net_ns: Namespace = Namespace(mode="bridge")
    pid_ns: Namespace = Namespace(mode="private")
    ipc_ns: Namespace = Namespace(mode="shareable")
    uts_ns: Namespace = Namespace(mode="private")
    cgroup_ns: Namespace = Namespace(mode="private")
    privileged: bool = False
    capabilities: tuple[str, ...] = ()       # the final bounding set, "CAP_CHOWN", sorted
    cap_add: tuple[str, ...] = ()            # for inspect
    cap_drop: tuple[str, ...] = ()
    security: SecurityOptions = SecurityOptions()
    # network
    networks: tuple[NetworkAttachment, ...] = ()
    ports: tuple[PortMapping, ...] = ()      # host ports all chosen
    publish_all: bool = False
    dns_servers: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    add_host: tuple[str, ...] = ()           # "name:address"
    manage_hosts: bool = True
    manage_resolv_conf: bool = True
    manage_hostname: bool = True
    hosts_file: str = ""                     # a path, "image", "none"; "": as configured
    chroot_dirs: tuple[str, ...] = ()
    # mounts and devices
    mounts: tuple[Mount, ...] = ()           # volumes by name; anonymous ones are named by now; destinations clean
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size: int = 65536000
    shm_size_systemd: int = 0                # bytes; 0: no limit of its own
    rdt_class: str = ""
    # limits
    resources: Resources = Resources()
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None
    sysctls: dict[str, str] = {}
    cgroup_parent: str = ""
    cgroup_manager: str = "cgroupfs"
    cgroups: str = "enabled"                 # enabled, disabled, no-conmon, split
    # monitor
    runtime: str = ""                        # name of the OCI runtime, for example crun
    runtime_path: str = ""
    runtime_flags: tuple[str, ...] = ()      # before the runtime's command, "--debug"
    log: LogConfig = LogConfig()
    conmon_pidfile: str = ""
    pidfile: str = ""
    cidfile: str = ""                        # goes with the container
    secrets: tuple[str, ...] = ()


class Container(Record):
    """A container as the database lists it; its whole config is read when it is needed."""

    id: str
    name: str
    image_id: str = ""
    image_name: str = ""
    created: int = 0
    pod_id: str = ""
    command: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    ports: tuple[PortMapping, ...] = ()
    exposed_ports: tuple[str, ...] = ()      # "80/tcp"
    networks: tuple[str, ...] = ()           # names, or the mode when it is not bridge
    mounts: tuple[str, ...] = ()             # destinations
    auto_remove: bool = False
    is_infra: bool = False


class NetworkStatus(Record):
    """What one network gave a container: addresses in CIDR form, as netavark answers them."""

    interface: str = "eth0"
    mac_address: str = ""
    addresses: tuple[str, ...] = ()          # "10.88.0.2/16"
    gateways: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()


class Facts(Record):
    """What turned out true while a container was started; each step adds its own."""

    rootfs: str = ""                         # mounted root file system
    staged_root: str = ""                    # where the runtime finds it, if the container's root cannot reach that path
    bundle: str = ""                         # directory of config.json
    volumes: dict[str, str] = {}             # volume name -> host directory
    image_mounts: dict[str, str] = {}        # mount destination -> host directory
    netns: str = ""                          # path; "" where the network namespace is not ours
    network: dict[str, NetworkStatus] = {}   # network name -> status
    etc_files: dict[str, str] = {}           # path in the container -> host file
    notify: str = ""                         # directory of conmon's notify socket, where a service manager listens
    shm: str = ""                            # host path of /dev/shm's tmpfs
    uid: int = 0                             # of the container's user
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""
    namespaces: dict[str, str] = {}          # kind ("network", "pid", ...) -> path, where one is joined
    pid: int = 0                             # of the container's first process, on the host
    conmon_pid: int = 0


class ContainerState(Record):
    """What was last written of a container's life. ``status``: created, running, paused, exited, stopping, removing.

    It is true only under the boot in ``boot_id`` and while the process still lives: see ``state.containers.status``.
    """

    id: str
    status: str = "created"
    boot_id: str = ""
    pid: int = 0
    pid_start: int = 0                       # start time of that process, clock ticks since boot
    conmon_pid: int = 0
    started: int = 0
    finished: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    restart_count: int = 0
    stopped_by_user: bool = False
    network: dict[str, NetworkStatus] = {}


class ExecConfig(Record):
    """A command to run in a running container, decided."""

    id: str
    container_id: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    terminal: bool = False
    stdin_open: bool = False
    privileged: bool = False
    detach_keys: str = ""
    preserve_fds: int = 0


# --- volumes and networks ---------------------------------------------------------------------------------------------


class Volume(Record):
    """A named directory that outlives containers."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    created: int = 0
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False
    uid: int = 0
    gid: int = 0
    filled: bool = False                     # the image's content was copied in, or the user forbade it


class Subnet(Record):
    """One subnet of a network; ``lease_start``/``lease_end`` bound the addresses handed out."""

    subnet: str
    gateway: str = ""
    lease_start: str = ""
    lease_end: str = ""


class Route(Record):
    """A static route of a network."""

    destination: str
    gateway: str
    metric: int = 0


class Network(Record):
    """A network's definition, the content of its JSON file."""

    name: str
    id: str
    driver: str = "bridge"
    interface: str = ""
    created: str = ""                        # RFC 3339, as in the file
    subnets: tuple[Subnet, ...] = ()
    routes: tuple[Route, ...] = ()
    ipv6: bool = False
    internal: bool = False
    dns_enabled: bool = False
    dns_servers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    ipam: dict[str, str] = {}
