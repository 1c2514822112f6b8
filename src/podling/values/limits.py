"""Resource limits, ulimits and devices as values."""

from __future__ import annotations

from podling.record import Record


class Ulimit(Record):
    """One rlimit; -1 means unlimited. ``name`` is lower-case without RLIMIT_ (nofile)."""

    name: str
    soft: int
    hard: int


class Device(Record):
    """A host device for the container; ``permissions`` out of r, w, m."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


class DeviceRate(Record):
    """A throttled block device: bytes or operations a second."""

    path: str
    rate: int


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
