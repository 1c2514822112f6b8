"""Resource limits, ulimits, devices, sysctls and capabilities as values."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record
from podling.values.gotext import parse_float, parse_int, parse_uint, quote
from podling.values.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# --- records ----------------------------------------------------------------------------------------------------------


class Ulimit(Record):
    """One rlimit; -1 means unlimited. ``name`` is lower-case without RLIMIT_ (nofile)."""

    name: str
    soft: int
    hard: int

    def __str__(self) -> str:
        """The ``--ulimit`` text that :func:`parse_ulimit` reads back."""
        return f"{self.name}={self.soft}:{self.hard}"


class Device(Record):
    """A host device for the container; ``permissions`` out of r, w, m."""

    host_path: str
    container_path: str
    permissions: str = "rwm"

    def __str__(self) -> str:
        """The ``--device`` text that :func:`parse_device` reads back."""
        return f"{self.host_path}:{self.container_path}:{self.permissions}"


class DeviceRate(Record):
    """A throttled block device: bytes or operations a second."""

    path: str
    rate: int

    def __str__(self) -> str:
        return f"{self.path}:{self.rate}"


class Resources(Record):
    """cgroup limits; None means not limited (the kernel's default). Memory in bytes, CPU times in microseconds."""

    memory: int | None = None
    memory_swap: int | None = None          # memory and swap together; -1 unlimited
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    kernel_memory: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_rt_period: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None           # -1 unlimited
    blkio_weight: int | None = None
    blkio_weight_device: tuple[DeviceRate, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()
    unified: dict[str, str] = {}            # cgroup v2 files written as they are


# --- ulimits ----------------------------------------------------------------------------------------------------------

ULIMIT_NAMES = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)


def parse_ulimit(text: str) -> Ulimit:
    """One ``--ulimit``: ``nofile=1024:2048``, ``nofile=1024``, -1 for unlimited; InvalidArgument in Podman's words.

    ``--ulimit host`` means none at all and is for the caller.
    """
    try:
        return _parse_ulimit(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"ulimit option {quote(text)} requires name=SOFT:HARD, failed to be parsed: "
                              f"{error.message}") from None


def _parse_ulimit(text: str) -> Ulimit:
    name, equals, limits = text.partition("=")
    if not equals:
        raise InvalidArgument(f"invalid ulimit argument: {text}")
    if name not in ULIMIT_NAMES:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise InvalidArgument(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    hard = _limit(parts[-1])
    soft = _limit(parts[0])
    if hard != -1 and soft == -1:
        raise InvalidArgument("ulimit soft limit must be less than or equal to hard limit: "
                              f"soft: -1 (unlimited), hard: {hard}")
    if hard != -1 and soft > hard:
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def _limit(text: str) -> int:
    value = -1 if text in ("infinity", "unlimited") else parse_int(text)
    if value < -1:
        raise InvalidArgument(f"invalid ulimit value: {text}")
    return value


# --- devices ----------------------------------------------------------------------------------------------------------


def parse_device(text: str) -> Device:
    """One ``--device``: ``/dev/sda``, ``/dev/sda:/dev/xvda``, ``/dev/sda:rw``, ``/dev/sda:/dev/xvda:rwm``."""
    parts = text.split(":")
    if not parts[0] or len(parts) > 3:
        raise InvalidArgument(f"invalid device specification: {text}")
    destination, permissions = "", "rwm"
    if len(parts) > 1:
        if _is_device_mode(parts[1]):
            permissions = parts[1]
        elif parts[1].startswith("/"):
            destination = parts[1]
        else:
            raise InvalidArgument(f"invalid device mode: {parts[1]}")
    if len(parts) > 2:
        if not _is_device_mode(parts[2]):
            raise InvalidArgument(f"invalid device mode: {parts[2]}")
        permissions = parts[2]
    return Device(host_path=parts[0], container_path=destination or parts[0], permissions=permissions)


def _is_device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def parse_device_rule(text: str) -> tuple[str, int | None, int | None, str]:
    """(type, major, minor, access) of a ``--device-cgroup-rule``: ``c 1:3 rwm``; None stands for every number (``*``)."""
    parts = text.split(" ")
    if len(parts) != 3:
        raise InvalidArgument(f"invalid device cgroup rule requires type, major:Minor, and access rules: {quote(text)}")
    kind, numbers, access = parts
    if kind not in ("a", "b", "c"):
        raise InvalidArgument(f"invalid device type in device-access-add: {kind}")
    major, _, minor = numbers.partition(":")
    for character in access or " ":
        if character not in "rwm":
            raise InvalidArgument(f"invalid device access in device-access-add: {character.strip()}")
    return kind, _device_number(major), _device_number(minor or "*"), access


def _device_number(text: str) -> int | None:
    return None if text == "*" else parse_uint(text, bits=63)


def parse_device_bps(text: str) -> DeviceRate:
    """One ``--device-read-bps`` or ``--device-write-bps``: ``/dev/sda:1mb``."""
    path, rate = _device_and_value(text)
    try:
        return DeviceRate(path=path, rate=parse_size(rate))
    except InvalidArgument:
        raise InvalidArgument(f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number "
                              "must be a positive integer. Unit is optional and can be kb, mb, or gb") from None


def parse_device_iops(text: str) -> DeviceRate:
    """One ``--device-read-iops`` or ``--device-write-iops``: ``/dev/sda:1000``."""
    path, rate = _device_and_value(text)
    try:
        return DeviceRate(path=path, rate=parse_uint(rate))
    except InvalidArgument:
        raise InvalidArgument(f"invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be "
                              "a positive integer") from None


def parse_weight_device(text: str) -> DeviceRate:
    """One ``--blkio-weight-device``: ``/dev/sda:500``; ``rate`` is the weight, 0 or 10 to 1000."""
    path, weight = _device_and_value(text)
    try:
        value = parse_uint(weight)
    except InvalidArgument:
        raise InvalidArgument(f"invalid weight for device: {text}") from None
    if value and not 10 <= value <= 1000:
        raise InvalidArgument(f"invalid weight for device: {text}")
    return DeviceRate(path=path, rate=value)


def _device_and_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon:
        raise InvalidArgument(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidArgument(f"bad format for device path: {text}")
    return path, value


# --- cgroup limits ----------------------------------------------------------------------------------------------------

CPU_PERIOD = 100000
"""Microseconds over which ``--cpus`` is counted, the kernel's default."""


def parse_cpus(text: str) -> tuple[int, int]:
    """(quota, period) in microseconds of a number of CPUs: ``1.5``; (0, 100000) of 0, which means not limited."""
    cpus = parse_float(text)
    if cpus < 0 or cpus > 1 << 40:
        raise InvalidArgument(f"invalid number of CPUs: {text}")
    return int(cpus * CPU_PERIOD), CPU_PERIOD


def parse_pids_limit(text: str) -> int:
    """A number of processes; -1 (unlimited) of 0 and every negative number, as Podman."""
    limit = parse_int(text, bits=32)
    return limit if limit > 0 else -1


def parse_memory(text: str) -> int:
    """Bytes of ``--memory``, ``--memory-reservation``: ``512m``; the error says what was asked, as Podman's."""
    try:
        return parse_size(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid value for memory: {error.message}") from None


def parse_memory_swap(text: str) -> int:
    """Bytes of ``--memory-swap`` (memory and swap together), or -1 for unlimited."""
    return -1 if text == "-1" else parse_memory(text)


def parse_memory_swappiness(text: str) -> int:
    """0 to 100, or -1 for the kernel's default."""
    value = parse_int(text)
    if not -1 <= value <= 100:
        raise InvalidArgument(f"invalid value: {value}, valid memory swappiness range is 0-100")
    return value


def parse_blkio_weight(text: str) -> int:
    """The relative weight of block I/O, 10 to 1000 (0: the kernel's default)."""
    try:
        weight = parse_uint(text, bits=16)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid value for blkio-weight: {error.message}") from None
    return weight


def parse_cpuset(text: str) -> str:
    """A list of CPUs or memory nodes, checked and unchanged: ``0-3,8``."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = (first, last) if dash else (first,)
        if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
            raise InvalidArgument(f"invalid value {text} for cpuset cpus")
        if dash and int(first) > int(last):
            raise InvalidArgument(f"invalid value {text} for cpuset cpus")
    return text


def parse_unified(text: str) -> tuple[str, str]:
    """(cgroup v2 file, content) of a ``--cgroup-conf``: ``memory.high=1073741824``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument("--cgroup-conf must be formatted KEY=VALUE")
    return name, value


# --- sysctls ----------------------------------------------------------------------------------------------------------

_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
)


def parse_sysctl(text: str) -> tuple[str, str]:
    """(name, value) of a ``--sysctl`` that belongs to a namespace: ``net.ipv4.ip_forward=1``; InvalidArgument otherwise."""
    parts = text.split("=")
    if len(parts) < 2:
        raise InvalidArgument(f"{text} is invalid, sysctl values must be in the form of KEY=VALUE")
    name, value = parts[0], parts[1]
    if f"{name.strip()}={value.strip()}" != text:
        raise InvalidArgument(f"'{text}' is invalid, extra spaces found")
    if name not in _SYSCTLS and not name.startswith(("net.", "fs.mqueue.")):
        raise InvalidArgument(f"sysctl '{name}' is not allowed")
    return name, value


# --- capabilities -----------------------------------------------------------------------------------------------------

ALL_CAPABILITIES = tuple(f"CAP_{name}" for name in (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
))
"""Every capability; the kernel's number of each is its position."""

DEFAULT_CAPABILITIES = tuple(f"CAP_{name}" for name in (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
))
"""What a container has where nobody says otherwise (containers-common 5)."""

_EVERY = "ALL"


def normalise_capability(text: str) -> str:
    """``CAP_NET_ADMIN`` of ``net_admin``, ``ALL`` of ``all``; InvalidArgument where no capability is called so."""
    name = text.upper()
    if name == _EVERY:
        return name
    if not name.startswith("CAP_"):
        name = f"CAP_{name}"
    if name not in ALL_CAPABILITIES:
        raise InvalidArgument(f"{quote(name)}: unknown capability")
    return name


def merge_capabilities(default: Iterable[str], add: Iterable[str], drop: Iterable[str], *, privileged: bool = False,
                       bounding: Iterable[str] = ALL_CAPABILITIES) -> tuple[str, ...]:
    """The capabilities that result, sorted by name, none outside ``bounding`` (what this process could give).

    Rules of Podman: privileged means all, whatever is added or dropped; ``--cap-drop all`` leaves what is added;
    ``--cap-add all`` leaves out what is dropped by name. InvalidArgument where one is both added and dropped.
    """
    added = [normalise_capability(name) for name in add]
    dropped = [normalise_capability(name) for name in drop]
    if privileged:
        wanted = set(bounding)
    elif _EVERY in added and _EVERY in dropped:
        raise InvalidArgument("adding all caps and removing all caps not allowed")
    else:
        for name in added:
            if name in dropped:
                raise InvalidArgument(f"capability {quote(name)} cannot be dropped and added")
        if _EVERY in dropped:
            wanted = set(added)
        elif _EVERY in added:
            wanted = set(bounding) - set(dropped)
        else:
            wanted = {normalise_capability(name) for name in default} - set(dropped) | set(added)
    return tuple(sorted(wanted & set(bounding)))
