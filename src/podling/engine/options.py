"""What is asked of the engine: one record an operation, shared by the command line, the REST API and the library.

A field that is None was not said; defaults and precedence are decided in the operation, never in a face.
"""

from __future__ import annotations

from podling.model import Healthcheck, LogConfig, Platform, RestartPolicy
from podling.record import Record
from podling.values.isolation import Namespace, NetworkAttachment, SecurityOptions
from podling.values.limits import Device, Resources, Ulimit
from podling.values.mounts import Mount
from podling.values.ports import PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class RegistryOptions(Record):
    """How to reach a registry."""

    authfile: str | None = None
    cert_dir: str | None = None
    creds: str | None = None                 # "user:password"
    tls_verify: bool | None = None
    retry: int | None = None
    retry_delay: float | None = None         # seconds


class PullOptions(Record):
    """``pull``: one image into the store."""

    policy: str | None = None                # always, missing, never, newer
    platform: Platform | None = None         # "" parts mean this host's
    all_tags: bool = False
    decryption_keys: tuple[str, ...] = ()    # FILE[:PASSPHRASE] of private keys
    signature_policy: str | None = None      # path of a policy.json that counts instead of the host's
    registry: RegistryOptions = RegistryOptions()
    progress: Callable[..., None] | None = None   # called with image.transfer's events
    choose: Callable[[str, list[str]], str] | None = None   # asks which of several full names a short one stands for


class SigningOptions(Record):
    """Who signs what is pushed; files are paths."""

    sign_by: str | None = None               # a GPG key
    sign_by_sigstore_private_key: str | None = None
    sign_by_sigstore: str | None = None      # parameters
    sign_passphrase_file: str | None = None  # its first line unlocks either key
    sign_passphrase: str | None = None

    @property
    def any(self) -> bool:
        """Whether anybody signs."""
        return bool(self.sign_by or self.sign_by_sigstore_private_key or self.sign_by_sigstore)


class PushOptions(Record):
    """``push``: an image to a destination."""

    compression_format: str | None = None    # gzip, zstd, zstd:chunked
    compression_level: int | None = None
    force_compression: bool | None = None
    format: str | None = None                # oci, v2s2
    digest_file: str | None = None
    encryption_keys: tuple[str, ...] = ()    # jwe:FILE of those who are to read the layers
    encrypt_layers: tuple[int, ...] = ()     # which; all where it is empty
    remove_signatures: bool = False
    signing: SigningOptions = SigningOptions()
    registry: RegistryOptions = RegistryOptions()
    progress: Callable[..., None] | None = None


class SaveOptions(Record):
    """``save``: images to an archive or a directory."""

    format: str | None = None                # docker-archive, oci-archive, oci-dir, docker-dir
    compress: bool = False
    uncompressed: bool = False
    multi: bool = False                      # several images, not several names of one
    progress: Callable[..., None] | None = None


class ImportOptions(Record):
    """``import``: a root file system's tar as an image."""

    changes: tuple[str, ...] = ()            # Dockerfile instructions
    message: str = ""
    platform: Platform | None = None
    signature_policy: str | None = None


class RemoveImageOptions(Record):
    """``rmi``."""

    force: bool = False                      # also remove containers that use it
    ignore: bool = False                     # images that do not exist are no error
    prune: bool = True                       # also untagged parents


class CreateOptions(Record):
    """``create`` and ``run``: what a container is asked to be."""

    image: str = ""                          # or the directory, with rootfs
    command: tuple[str, ...] = ()
    name: str | None = None
    replace_existing: bool = False
    rootfs: bool = False
    pull: PullOptions = PullOptions()
    create_command: tuple[str, ...] = ()
    # process
    entrypoint: tuple[str, ...] | None = None    # () clears the image's
    # "NAME=value", or "NAME" and "NAME*" to take from the caller's environment; later ones override earlier ones
    env: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()          # paths
    env_host: bool | None = None
    env_merge: tuple[str, ...] = ()
    unset_env: tuple[str, ...] = ()
    unset_env_all: bool = False
    http_proxy: bool | None = None
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    umask: str | None = None
    terminal: bool = False
    stdin_open: bool = False
    attach: tuple[str, ...] = ()             # STDIN, STDOUT, STDERR in lower case
    stop_signal: int | None = None
    stop_timeout: int | None = None
    timeout: int | None = None
    init: bool | None = None
    init_path: str | None = None
    systemd: str | None = None
    passwd: bool | None = None
    passwd_entry: str | None = None
    group_entry: str | None = None
    host_users: tuple[str, ...] = ()         # accounts of this host that the container gets
    requires: tuple[str, ...] = ()           # containers that are started before it
    sd_notify: str | None = None             # container, conmon, ignore
    personality: str | None = None           # LINUX, LINUX32
    tz: str | None = None
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    label_files: tuple[str, ...] = ()
    restart: RestartPolicy | None = None
    healthcheck: Healthcheck | None = None   # parts that are 0 or () are taken from the image
    no_healthcheck: bool = False
    auto_remove: bool = False
    remove_image: bool = False
    cidfile: str | None = None
    # isolation
    hostname: str | None = None
    domainname: str | None = None
    user_ns: Namespace | None = None
    uid_map: tuple[str, ...] = ()
    gid_map: tuple[str, ...] = ()
    subuid_name: str | None = None           # whose line of /etc/subuid is the map
    subgid_name: str | None = None
    net_ns: Namespace | None = None
    pid_ns: Namespace | None = None
    ipc_ns: Namespace | None = None
    uts_ns: Namespace | None = None
    cgroup_ns: Namespace | None = None
    privileged: bool | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: SecurityOptions = SecurityOptions()
    seccomp_policy: str | None = None        # image: the profile in the image's label
    read_only: bool | None = None
    read_write_tmpfs: bool | None = None
    # network
    networks: tuple[NetworkAttachment, ...] = ()
    ip: str | None = None
    ip6: str | None = None
    mac_address: str | None = None
    network_aliases: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()             # "80/tcp"
    dns_servers: tuple[str, ...] | None = None
    dns_search: tuple[str, ...] | None = None
    dns_options: tuple[str, ...] | None = None
    add_host: tuple[str, ...] = ()
    no_hosts: bool | None = None
    no_hostname: bool = False
    hosts_file: str | None = None            # a path, "image" or "none": what /etc/hosts begins with
    chroot_dirs: tuple[str, ...] = ()        # directories in the container that get the files of /etc too
    # mounts and devices
    mounts: tuple[Mount, ...] = ()           # -v, --mount and --tmpfs, in that order
    volumes_from: tuple[str, ...] = ()       # "CONTAINER[:options]"
    image_volume: str | None = None          # anonymous (bind), tmpfs, ignore
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size: int | None = None
    shm_size_systemd: int | None = None      # bytes of /run, /tmp, ... in systemd mode
    rdt_class: str | None = None
    # limits
    resources: Resources = Resources()
    ulimits: tuple[Ulimit, ...] = ()
    ulimit_host: bool = False                # --ulimit host
    oom_score_adj: int | None = None
    sysctls: dict[str, str] = {}
    cgroup_parent: str | None = None
    cgroups: str | None = None
    # monitor
    runtime: str | None = None
    log: LogConfig | None = None             # driver "" means the configured one
    log_max_size: int | None = None
    conmon_pidfile: str | None = None
    pidfile: str | None = None


class StartOptions(Record):
    """``start``."""

    attach: bool = False
    stdin: bool = False
    detach_keys: str | None = None
    sig_proxy: bool | None = None


class RunOptions(Record):
    """``run``: how the new container is started and watched."""

    detach: bool = False
    detach_keys: str | None = None
    sig_proxy: bool | None = None
    preserve_fds: int = 0


class AttachOptions(Record):
    """``attach``."""

    detach_keys: str | None = None
    no_stdin: bool = False
    sig_proxy: bool = True


class StopOptions(Record):
    """``stop`` and ``restart``."""

    timeout: float | None = None             # seconds; None: the container's own; negative: for ever


class RemoveOptions(Record):
    """``rm``."""

    force: bool = False
    volumes: bool = False                    # anonymous ones
    depend: bool = False                     # also containers that need it
    timeout: float | None = None


class WaitOptions(Record):
    """``wait``: until the container is in one of the conditions."""

    conditions: tuple[str, ...] = ()         # stopped, running, exited, ... ; () means stopped
    interval: float = 0.25                   # seconds
    ignore: bool = False                     # a container that does not exist gives -1


class ExecOptions(Record):
    """``exec``."""

    command: tuple[str, ...]
    detach: bool = False
    detach_keys: str | None = None
    env: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    stdin_open: bool = False
    terminal: bool = False
    privileged: bool = False
    user: str | None = None
    working_dir: str | None = None
    preserve_fds: int = 0


class LogsOptions(Record):
    """``logs``. Times in nanoseconds since 1970."""

    follow: bool = False
    since: int | None = None
    until: int | None = None
    tail: int | None = None                  # last lines; None or negative: all
    timestamps: bool = False
    names: bool = False
    color: bool = False


class SelectOptions(Record):
    """Which containers a command acts on (``engine.select``)."""

    names: tuple[str, ...] = ()
    all: bool = False
    latest: bool = False
    filters: dict[str, tuple[str, ...]] = {}
    cidfiles: tuple[str, ...] = ()
    ignore: bool = False                     # names that do not exist are left out


class ListOptions(Record):
    """``ps``."""

    all: bool = False
    latest: bool = False
    last: int | None = None
    filters: dict[str, tuple[str, ...]] = {}
    size: bool = False
    sync: bool = False
    namespaces: bool = False


class CreateVolumeOptions(Record):
    """``volume create``."""

    name: str = ""                           # "" means: a random one
    driver: str = "local"
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    ignore: bool = False
    anonymous: bool = False
    uid: int = 0
    gid: int = 0
