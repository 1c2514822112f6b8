"""What ``run`` and ``create`` ask of the engine: one options record out of the flags that were said."""

from __future__ import annotations

import os

from podling import log
from podling.cli.progress import chooser, registry_options, reporter
from podling.engine.options import CreateOptions, PullOptions
from podling.errors import InvalidArgument
from podling.model import Healthcheck, LogConfig, Platform
from podling.values import isolation, limits, mounts, units
from podling.values.limits import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_RESOURCES = (
    "blkio_weight", "blkio_weight_device", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
    "cpuset_cpus", "cpuset_mems", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops", "memory",
    "memory_reservation", "memory_swap", "memory_swappiness", "oom_kill_disable", "pids_limit",
)


def create_options(context: Context, said: dict[str, Any], args: list[str]) -> CreateOptions:
    """The record; ``said`` holds nothing but options of the container. Whatever were left over would be an error."""
    rest = dict(said)
    fields: dict[str, Any] = {
        "image": args[0], "command": tuple(args[1:]), "create_command": context.argv,
        "pull": _pull(context, rest), "resources": _resources(rest), "mounts": _mounts(rest),
        "healthcheck": _healthcheck(rest), "security": isolation.parse_security_opts(rest.pop("security_opt", ())),
    }
    fields.update(_network(rest))
    fields.update(_ulimits(rest))
    fields.update(_log(rest))
    for name in ("annotations", "labels", "sysctls"):
        if name in rest:
            fields[name] = dict(rest.pop(name))
    if "expose" in rest:
        fields["expose"] = tuple(port for ports in rest.pop("expose") for port in ports)
    if rest.get("remove_image"):
        rest["auto_remove"] = True
    return CreateOptions(**fields, **rest)


def _pull(context: Context, rest: dict[str, Any]) -> PullOptions:
    return PullOptions(policy=rest.pop("pull", None), platform=take_platform(rest), registry=registry_options(rest),
                       signature_policy=rest.pop("signature_policy", None), decryption_keys=tuple(rest.pop("decryption_key", ())),
                       progress=reporter(context, quiet=rest.pop("quiet", False)), choose=chooser(context))


def take_platform(rest: dict[str, Any]) -> Platform | None:
    """The platform of ``--platform`` or of ``--os``, ``--arch`` and ``--variant``, which are taken out of what was said."""
    whole: Platform | None = rest.pop("platform", None)
    system, architecture, variant = (rest.pop(name, "") for name in ("os", "arch", "variant"))
    if whole is not None:
        if system or architecture:
            raise InvalidArgument("--platform option can not be specified with --arch or --os")
        return whole
    if not (system or architecture or variant):
        return None
    return Platform(os=system, architecture=architecture, variant=variant)


def _resources(rest: dict[str, Any]) -> Resources:
    found = {name: rest.pop(name) for name in _RESOURCES if name in rest}
    if "unified" in rest:
        found["unified"] = dict(rest.pop("unified"))
    cpus = rest.pop("cpus", None)
    if cpus is not None:
        for name in ("cpu_period", "cpu_quota"):
            if name in found:
                raise InvalidArgument(f"--{name.replace('_', '-')} and --cpus cannot be set together")
        quota, period = cpus
        if quota:
            found.update(cpu_quota=quota, cpu_period=period)
    return Resources(**found)


def _mounts(rest: dict[str, Any]) -> tuple[mounts.Mount, ...]:
    texts = {name: rest.pop(name, ()) for name in ("volume", "mount", "tmpfs")}
    if not any(texts.values()):
        return ()
    return mounts.merge(volumes=texts["volume"], mounts=texts["mount"], tmpfs=texts["tmpfs"], cwd=os.getcwd())


def _network(rest: dict[str, Any]) -> dict[str, Any]:
    if "network" not in rest:
        return {}
    mode, networks = isolation.parse_network(rest.pop("network"))
    return {"net_ns": mode, "networks": networks}


def _ulimits(rest: dict[str, Any]) -> dict[str, Any]:
    texts = rest.pop("ulimit", ())
    if "host" in texts:
        if len(texts) > 1:
            raise InvalidArgument("ulimit can use host or individual limits but not both")
        return {"ulimit_host": True}
    return {"ulimits": tuple(limits.parse_ulimit(text) for text in texts)}


def _log(rest: dict[str, Any]) -> dict[str, Any]:
    driver = rest.pop("log_driver", "")
    options = dict(rest.pop("log_opt", ()))
    fields: dict[str, Any] = {}
    if "max-size" in options:
        fields["log_max_size"] = units.parse_size_decimal(options["max-size"])
    if driver or "path" in options or "tag" in options:
        fields["log"] = LogConfig(driver=driver, path=options.get("path", ""), tag=options.get("tag", ""))
    return fields


def _healthcheck(rest: dict[str, Any]) -> Healthcheck | None:
    said = {name: rest.pop("health_" + name) for name in ("cmd", "interval", "retries", "start_period", "timeout")
            if "health_" + name in rest}
    if not said:
        return None
    test = said.pop("cmd", ())
    if test != ("NONE",):
        log.warning("the health check is recorded, but this version of podling does not run health checks yet")
    return Healthcheck(test=test, **said)
