"""What the flags of run and create ask of the engine."""

from __future__ import annotations

from typing import Any

import pytest

from podling.cli.commands.container_flags import COMMON, RUN_ONLY
from podling.cli.commands.container_options import create_options
from podling.cli.commands.run import CREATE, RUN
from podling.cli.context import Context
from podling.cli.flags import parse
from podling.engine.globals import GlobalOptions
from podling.engine.options import CreateOptions
from podling.errors import InvalidArgument, PodlingError, Unsupported
from podling.model import Healthcheck, LogConfig, Platform, RestartPolicy
from podling.values.isolation import Namespace, NetworkAttachment
from podling.values.limits import Device, Ulimit
from podling.values.ports import PortMapping


def options(*argv: str) -> CreateOptions:
    said, args = parse(CREATE, [*argv, "image", "cmd", "-x"])
    return create_options(Context(GlobalOptions(), argv=("podling", "create")), said, args)


@pytest.mark.parametrize(("argv", "field", "value"), [
    ([], "image", "image"),
    ([], "command", ("cmd", "-x")),
    ([], "create_command", ("podling", "create")),
    (["--name", "web"], "name", "web"),
    (["-e", "A=b", "--env", "C"], "env", ("A=b", "C")),
    (["--env-file", "f"], "env_files", ("f",)),
    (["-it"], "terminal", True),
    (["-it"], "stdin_open", True),
    (["-l", "a=b=c", "--label", "x"], "labels", {"a": "b=c", "x": ""}),
    (["--annotation", "a=b"], "annotations", {"a": "b"}),
    (["--rm"], "auto_remove", True),
    (["--entrypoint", ""], "entrypoint", ()),
    (["--entrypoint", '["a", "b c"]'], "entrypoint", ("a", "b c")),
    (["--entrypoint", '["a"'], "entrypoint", ('["a"',)),
    (["--entrypoint", "sh -c"], "entrypoint", ("sh -c",)),
    (["-p8080:80"], "ports", (PortMapping(container_port=80, host_port=8080),)),
    (["--expose", "80-81"], "expose", ("80/tcp", "81/tcp")),
    (["--net", "host"], "net_ns", Namespace(mode="host")),
    (["--network", "a", "--network", "b:alias=x"], "networks",
     (NetworkAttachment(network="a"), NetworkAttachment(network="b", aliases=("x",)))),
    (["--pid", "container:web"], "pid_ns", Namespace(mode="container", value="web")),
    (["--dns", "1.1.1.1,::1"], "dns_servers", ("1.1.1.1", "::1")),
    (["--dns-opt", "ndots:1"], "dns_options", ("ndots:1",)),
    (["--add-host", "a:1.2.3.4", "--add-host", "b:host-gateway"], "add_host", ("a:1.2.3.4", "b:host-gateway")),
    (["--device", "/dev/fuse:r"], "devices", (Device(host_path="/dev/fuse", container_path="/dev/fuse", permissions="r"),)),
    (["--ulimit", "nofile=1:2"], "ulimits", (Ulimit(name="nofile", soft=1, hard=2),)),
    (["--ulimit", "host"], "ulimit_host", True),
    (["--sysctl", "net.core.somaxconn=1"], "sysctls", {"net.core.somaxconn": "1"}),
    (["--restart", "on-failure:3"], "restart", RestartPolicy(name="on-failure", retries=3)),
    (["--restart", "never"], "restart", RestartPolicy(name="no")),
    (["--stop-signal", "sigint"], "stop_signal", 2),
    (["--stop-timeout", "0"], "stop_timeout", 0),
    (["--umask", "22"], "umask", "0022"),
    (["--shm-size", "1m"], "shm_size", 1 << 20),
    (["--log-driver", "none"], "log", LogConfig(driver="none")),
    (["--log-opt", "path=/x", "--log-opt", "tag=t"], "log", LogConfig(driver="", path="/x", tag="t")),
    (["--log-opt", "max-size=10kb"], "log_max_size", 10_000),
    (["--image-volume", "bind"], "image_volume", "anonymous"),
    (["--health-cmd", "none"], "healthcheck", Healthcheck(test=("NONE",))),
    (["--health-cmd", "curl x", "--health-interval", "1m", "--health-retries", "2"], "healthcheck",
     Healthcheck(test=("CMD-SHELL", "curl x"), interval=60_000_000_000, retries=2)),
    (["--health-cmd", '["curl", "x"]'], "healthcheck", Healthcheck(test=("CMD", "curl", "x"))),
    (["--read-only", "--read-only-tmpfs=false"], "read_write_tmpfs", False),
    (["--userns", "host"], "user_ns", Namespace(mode="host")),
    (["--http-proxy=false"], "http_proxy", False),
    (["--no-hosts=0"], "no_hosts", False),
])
def test_maps_to_a_field(argv: list[str], field: str, value: object) -> None:
    assert getattr(options(*argv), field) == value


@pytest.mark.parametrize(("argv", "field", "value"), [
    (["--memory", "512m"], "memory", 512 << 20),
    (["-m1g", "--memory-swap", "-1"], "memory_swap", -1),
    (["--memory-swappiness", "-1"], "memory_swappiness", None),
    (["--cpus", "1.5"], "cpu_quota", 150_000),
    (["--cpus", "0"], "cpu_quota", None),
    (["-c", "512"], "cpu_shares", 512),
    (["--pids-limit", "0"], "pids_limit", -1),
    (["--cgroup-conf", "memory.high=1"], "unified", {"memory.high": "1"}),
    (["--oom-kill-disable"], "oom_kill_disable", True),
])
def test_maps_to_a_limit(argv: list[str], field: str, value: object) -> None:
    assert getattr(options(*argv).resources, field) == value


@pytest.mark.parametrize(("argv", "field", "value"), [
    (["--pull", "ifnewer"], "policy", "newer"),
    (["--platform", "linux/arm64/v8"], "platform", Platform(os="linux", architecture="arm64", variant="v8")),
    (["--arch", "arm"], "platform", Platform(os="", architecture="arm")),
])
def test_maps_to_the_pull(argv: list[str], field: str, value: object) -> None:
    assert getattr(options(*argv).pull, field) == value


def test_reaches_the_registry_as_told() -> None:
    asked = options("--tls-verify=false", "--authfile", "/a", "--creds", "u:p", "--retry", "5", "--retry-delay", "2s")
    registry = asked.pull.registry
    assert (registry.tls_verify, registry.authfile, registry.creds, registry.retry, registry.retry_delay) == (
        False, "/a", "u:p", 5, 2.0)


def test_nothing_said_is_nothing_decided() -> None:
    plain, asked = CreateOptions(image="image", command=("cmd", "-x")), options()
    for name in plain.to_json():
        if name not in ("pull", "create_command"):
            assert getattr(asked, name) == getattr(plain, name), name


# The words are those of Podman 5.4.
@pytest.mark.parametrize(("argv", "message"), [
    (["--restart", "foo"], 'running container create option: "foo" is not a valid restart policy: invalid argument'),
    (["--restart", "on-failure:x"], 'parsing restart policy retry count: strconv.Atoi: parsing "x": invalid syntax'),
    (["--restart", "always:3"], "restart policy retries can only be specified with on-failure restart policy"),
    (["--umask", "999"], "running container create option: invalid umask string 999: invalid argument"),
    (["--pull", "foo"], 'unsupported pull policy "foo"'),
    (["--image-volume", "foo"], 'invalid image volume mode "foo" required value: anonymous, tmpfs, ignore'),
    (["--annotation", "foo"], "annotations must be formatted KEY=VALUE"),
    (["--add-host", "foo"], 'bad format for add-host: "foo"'),
    (["--add-host", "foo:x"], 'invalid IP address in add-host: "x"'),
    (["--dns", "x"], "x is not an ip address"),
    (["--cgroups", "x"], 'running container create option: invalid cgroup mode "x": invalid argument'),
    (["--cgroupns", "x"], "unrecognized namespace mode x passed"),
    (["--systemd", "x"], ('invalid config provided: --systemd values must be one of "true, false, always": '
                          "invalid configuration")),
    (["--cpus", "1", "--cpu-quota", "5"], "--cpu-quota and --cpus cannot be set together"),
    (["--cpus", "1", "--cpu-period", "5"], "--cpu-period and --cpus cannot be set together"),
    (["--platform", "linux/arm64", "--arch", "arm"], "--platform option can not be specified with --arch or --os"),
    (["--log-driver", "foo"], "running container create option: invalid log driver: invalid argument"),
    (["--log-opt", "foo"], 'invalid log option "foo"'),
    (["--log-opt", "max-size=x"], "invalid size: 'x'"),
    (["--stop-signal", "foo"], "invalid signal: foo"),
    (["--shm-size", "x"], "unable to translate --shm-size: invalid size: 'x'"),
    (["--memory", "x"], "invalid value for memory: invalid size: 'x'"),
    (["--memory-swappiness", "200"], "invalid value: 200, valid memory swappiness range is 0-100"),
    (["--ip", "x"], '"x" is not an ip address'),
    (["--mac-address", "x"], "address x: invalid MAC address"),
    (["--health-cmd", "true", "--health-interval", "x"], 'invalid healthcheck-interval: time: invalid duration "x"'),
    (["--health-cmd", "true", "--health-timeout", "0s"], "healthcheck-timeout must be at least 1 second"),
    (["--retry-delay", "x"], 'time: invalid duration "x"'),
])
def test_words_of_what_is_wrong(argv: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        options(*argv)
    assert raised.value.message == message


@pytest.mark.parametrize("argv", [["--device", "nvidia.com/gpu=all"], ["--log-opt", "labels=x"], ["--secret", "s"],
                                  ["--pod", "p"]])
def test_what_is_missing_is_refused(argv: list[str]) -> None:
    with pytest.raises(Unsupported):
        options(*argv)


_SAMPLES = {
    "add-host": "a:1.2.3.4", "annotation": "a=b", "attach": "stdout", "blkio-weight": "100",
    "blkio-weight-device": "/dev/sda:100",
    "cgroup-conf": "a=b", "cgroupns": "host", "cgroups": "enabled", "cpuset-cpus": "0", "cpuset-mems": "0",
    "device": "/dev/null",
    "device-cgroup-rule": "c 1:3 r", "device-read-bps": "/dev/sda:1", "device-read-iops": "/dev/sda:1",
    "device-write-bps": "/dev/sda:1",
    "device-write-iops": "/dev/sda:1", "dns": "1.1.1.1", "expose": "80", "health-interval": "1s", "health-start-period": "1s",
    "health-timeout": "1s", "image-volume": "tmpfs", "ip": "10.88.0.9", "ip6": "fd00::9", "ipc": "host", "log-driver": "none",
    "log-opt": "tag=x", "mac-address": "92:d0:c6:0a:29:33", "memory": "1m", "memory-reservation": "1m", "memory-swap": "1m",
    "mount": "type=tmpfs,dst=/x", "network": "host", "pid": "host", "publish": "80", "pull": "never", "restart": "always",
    "sdnotify": "conmon", "seccomp-policy": "image", "security-opt": "no-new-privileges", "shm-size-systemd": "1m",
    "retry-delay": "1s", "shm-size": "1m", "stop-signal": "TERM", "sysctl": "net.x=1", "systemd": "true", "tmpfs": "/x",
    "ulimit": "nofile=1", "umask": "022", "userns": "host", "uts": "host", "volume": "/a:/b",
}


@pytest.mark.parametrize("flag", [flag for flag in COMMON if not flag.refused and flag.name != "help"],
                         ids=lambda flag: flag.name)
def test_every_flag_reaches_the_options(flag: Any) -> None:
    sample = _SAMPLES.get(flag.name, "1")
    argument = f"--{flag.name}" if flag.kind == "bool" else f"--{flag.name}={sample}"
    said, args = parse(CREATE, [argument, "image"])
    create_options(Context(GlobalOptions()), said, args)     # a key that nobody takes is a TypeError


def test_flags_of_run_alone() -> None:
    said, _ = parse(RUN, ["-d", "--sig-proxy=false", "--detach-keys", "ctrl-x", "--rmi", "image"])
    assert said == {"detach": True, "sig_proxy": False, "detach_keys": "ctrl-x", "remove_image": True}
    with pytest.raises(InvalidArgument, match="unknown flag: --sig-proxy"):
        parse(CREATE, ["--sig-proxy", "image"])
    assert {flag.name for flag in RUN_ONLY}.isdisjoint(flag.name for flag in COMMON)


def test_two_mounts_at_one_place() -> None:
    with pytest.raises(PodlingError, match="duplicate mount destination"):
        options("-v", "/a:/x", "-v", "/b:/x")
