"""A container's limits in OCI form: cgroup resources, device rules and rlimits. Pure."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.runtime.mounts import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.model import ContainerConfig
    from podling.runtime.host import HostFacts
    from podling.values.limits import DeviceRate, Resources

RLIM_INFINITY = (1 << 64) - 1
_MOST_PIDS = 4194304           # PID_MAX_LIMIT
_DEFAULT_RLIMIT = 1048576      # Podman's for files and processes, where nothing else was said


def limits(config: ContainerConfig, host: HostFacts) -> dict[str, Any]:
    """``linux.resources`` of a container, with its device rules; without limits where they cannot be applied."""
    found = resources(config.resources, host.device_numbers) if _may_limit(host) else {}
    rules = _device_rules(config, host)
    if rules:
        found["devices"] = rules
    return found


def _may_limit(host: HostFacts) -> bool:
    """An ordinary user has no cgroup on v1."""
    return not host.rootless or host.cgroup_layout == "v2"


def resources(wanted: Resources, numbers: dict[str, tuple[int, int]], *, update: bool = False) -> dict[str, Any]:
    """Limits as ``linux.resources``, for a new container or, with ``update``, for a running one.

    ``numbers``: throttled block device -> major, minor.
    """
    found: dict[str, Any] = {}
    memory = _said(limit=wanted.memory, reservation=wanted.memory_reservation, swap=wanted.memory_swap,
                   kernel=wanted.kernel_memory, swappiness=wanted.memory_swappiness)
    if wanted.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu = _said(shares=wanted.cpu_shares, quota=wanted.cpu_quota, period=wanted.cpu_period,
                realtimeRuntime=wanted.cpu_rt_runtime, realtimePeriod=wanted.cpu_rt_period)
    cpu.update({name: text for name, text in (("cpus", wanted.cpuset_cpus), ("mems", wanted.cpuset_mems)) if text})
    sections = (("memory", memory), ("cpu", cpu), ("blockIO", _block_io(wanted, numbers)), ("unified", dict(wanted.unified)))
    found.update({name: section for name, section in sections if section})
    # How "no limit" is said differs between runtimes and cgroup versions (-1, 0). A new cgroup has none, and the most pids
    # that a kernel can have is none to a running one.
    if wanted.pids_limit is not None and (wanted.pids_limit > 0 or update):
        found["pids"] = {"limit": wanted.pids_limit if wanted.pids_limit > 0 else _MOST_PIDS}
    return found


def _said(**values: int | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _block_io(wanted: Resources, numbers: dict[str, tuple[int, int]]) -> dict[str, Any]:
    found = _said(weight=wanted.blkio_weight)
    lists = (("weightDevice", "weight", wanted.blkio_weight_device),
             ("throttleReadBpsDevice", "rate", wanted.device_read_bps),
             ("throttleWriteBpsDevice", "rate", wanted.device_write_bps),
             ("throttleReadIOPSDevice", "rate", wanted.device_read_iops),
             ("throttleWriteIOPSDevice", "rate", wanted.device_write_iops))
    for name, key, rates in lists:
        if rates:
            found[name] = [_rate(rate, key, numbers) for rate in rates]
    return found


def _rate(rate: DeviceRate, key: str, numbers: dict[str, tuple[int, int]]) -> dict[str, int]:
    major, minor = numbers[rate.path]
    return {"major": major, "minor": minor, key: rate.rate}


# --- devices ----------------------------------------------------------------------------------------------------------


def devices(host: HostFacts) -> list[dict[str, Any]]:
    """``linux.devices``: nodes to make. An ordinary user cannot make any and gets bind mounts instead."""
    if host.rootless:
        return []
    return [{"path": node.path, "type": node.kind, "major": node.major, "minor": node.minor, "fileMode": node.mode,
             "uid": node.uid, "gid": node.gid} for node in host.devices]


def _device_rules(config: ContainerConfig, host: HostFacts) -> list[dict[str, Any]]:
    if host.rootless:
        return []
    if config.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = []
    if not in_user_namespace(config, host):
        rules.append({"allow": False, "access": "rwm"})
    rules += [{"allow": True, "type": node.kind, "major": node.major, "minor": node.minor, "access": node.access}
              for node in host.devices]
    if not in_user_namespace(config, host):
        rules += [device_rule(text) for text in config.device_cgroup_rules]
    return rules


def device_rule(text: str) -> dict[str, Any]:
    """``c 42:* rwm`` as an OCI device rule; InvalidArgument in Podman's words where it is none."""
    words = text.split()
    if len(words) != 3 or ":" not in words[1]:
        raise InvalidArgument(f"invalid device cgroup rule requires type, major:Minor, and access rules: {text!r}")
    kind, numbers, access = words
    if kind not in ("a", "b", "c"):
        raise InvalidArgument(f"invalid device type in device-access-add: {kind}")
    if not access or access.strip("rwm"):
        raise InvalidArgument(f"invalid access in device-access-add: {access}")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, number in zip(("major", "minor"), numbers.split(":", 1), strict=True):
        if number != "*":
            if not number.isdecimal():
                raise InvalidArgument(f"invalid {name} number in device-access-add: {number}")
            rule[name] = int(number)
    return rule


# --- rlimits ----------------------------------------------------------------------------------------------------------


def rlimits(config: ContainerConfig, host: HostFacts) -> list[dict[str, Any]]:
    """``process.rlimits``, lowered to this process' own where it may not raise them."""
    wanted = {limit.name: (limit.soft, limit.hard) for limit in config.ulimits}
    for name in ("nofile", "nproc"):
        wanted.setdefault(name, (_DEFAULT_RLIMIT, _DEFAULT_RLIMIT))
    found = []
    for name, (soft, hard) in wanted.items():
        if not host.may_raise_limits and name in host.rlimits:
            hard = _lower(hard, host.rlimits[name][1])
            soft = _lower(soft, hard)
        found.append({"type": f"RLIMIT_{name.upper()}", "hard": _number(hard), "soft": _number(soft)})
    return found


def _lower(first: int, second: int) -> int:
    """The smaller of two limits, where -1 is no limit."""
    if first < 0 or second < 0:
        return max(first, second)
    return min(first, second)


def _number(limit: int) -> int:
    return RLIM_INFINITY if limit < 0 else limit
