"""Limits, devices, sysctls and capabilities; the messages are what Podman answered to the same texts."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values import limits
from podling.values.limits import ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Device, DeviceRate, Ulimit, merge_capabilities

RATE = ("The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be "
        "kb, mb, or gb")


@pytest.mark.parametrize(("text", "ulimit"), [
    ("nofile=1024:2048", Ulimit(name="nofile", soft=1024, hard=2048)),
    ("nproc=5", Ulimit(name="nproc", soft=5, hard=5)),
    ("core=-1", Ulimit(name="core", soft=-1, hard=-1)),
    ("core=0:-1", Ulimit(name="core", soft=0, hard=-1)),
    ("memlock=unlimited", Ulimit(name="memlock", soft=-1, hard=-1)),
])
def test_ulimits_are_read(text, ulimit):
    assert limits.parse_ulimit(text) == ulimit
    assert limits.parse_ulimit(str(ulimit)) == ulimit


@pytest.mark.parametrize(("text", "message"), [
    ("foo", "invalid ulimit argument: foo"),
    ("foo=1", "invalid ulimit type: foo"),
    ("RLIMIT_NOFILE=5", "invalid ulimit type: RLIMIT_NOFILE"),
    ("nofile=", 'strconv.ParseInt: parsing "": invalid syntax'),
    ("nofile=a", 'strconv.ParseInt: parsing "a": invalid syntax'),
    ("nofile=99999999999999999999", 'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
    ("nofile=5:4", "ulimit soft limit must be less than or equal to hard limit: 5 > 4"),
    ("nofile=-1:4", "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 4"),
    ("nofile=1:2:3", "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
    ("nofile=-2", "invalid ulimit value: -2"),
])
def test_malformed_ulimits_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        limits.parse_ulimit(text)
    assert failure.value.message == f'ulimit option "{text}" requires name=SOFT:HARD, failed to be parsed: {message}'


@pytest.mark.parametrize(("text", "device"), [
    ("/dev/sda", Device(host_path="/dev/sda", container_path="/dev/sda")),
    ("/dev/sda:/dev/xvda", Device(host_path="/dev/sda", container_path="/dev/xvda")),
    ("/dev/sda:rw", Device(host_path="/dev/sda", container_path="/dev/sda", permissions="rw")),
    ("/dev/sda:/dev/xvda:r", Device(host_path="/dev/sda", container_path="/dev/xvda", permissions="r")),
])
def test_devices_are_read(text, device):
    assert limits.parse_device(text) == device
    assert limits.parse_device(str(device)) == device


@pytest.mark.parametrize(("text", "message"), [
    ("/dev/null:x", "invalid device mode: x"), ("/dev/null:/dev/x:q", "invalid device mode: q"),
    ("/dev/null:", "invalid device mode: "),
    ("/dev/null:rr", "invalid device mode: rr"), (":x", "invalid device specification: :x"),
    ("", "invalid device specification: "),
    ("a:b:c:d", "invalid device specification: a:b:c:d"),
])
def test_malformed_devices_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        limits.parse_device(text)
    assert failure.value.message == message


@pytest.mark.parametrize(("text", "rule"), [
    ("c 1:3 rwm", ("c", 1, 3, "rwm")), ("b *:* r", ("b", None, None, "r")), ("a *:3 w", ("a", None, 3, "w")),
    ("c 1 m", ("c", 1, None, "m")),
])
def test_device_rules_are_read(text, rule):
    assert limits.parse_device_rule(text) == rule


@pytest.mark.parametrize(("text", "message"), [
    ("x", 'invalid device cgroup rule requires type, major:Minor, and access rules: "x"'),
    ("x 1:3 r", "invalid device type in device-access-add: x"),
    ("c 1:3 q", "invalid device access in device-access-add: q"),
    ("c x:3 r", 'strconv.ParseUint: parsing "x": invalid syntax'),
])
def test_malformed_device_rules_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        limits.parse_device_rule(text)
    assert failure.value.message == message


def test_device_rates_are_read():
    assert limits.parse_device_bps("/dev/sda:1mb") == DeviceRate(path="/dev/sda", rate=1 << 20)
    assert limits.parse_device_iops("/dev/sda:1000") == DeviceRate(path="/dev/sda", rate=1000)
    assert limits.parse_weight_device("/dev/sda:500") == DeviceRate(path="/dev/sda", rate=500)


@pytest.mark.parametrize(("parse", "text", "message"), [
    (limits.parse_device_bps, "x", "bad format: x"),
    (limits.parse_device_bps, "/x:1", "bad format for device path: /x:1"),
    (limits.parse_device_bps, "/dev/null:x", f"invalid rate for device: /dev/null:x. {RATE}"),
    (limits.parse_device_bps, "/dev/null:-1", f"invalid rate for device: /dev/null:-1. {RATE}"),
    (limits.parse_device_iops, "/dev/null:1k", ("invalid rate for device: /dev/null:1k. The correct format is "
                                               "<device-path>:<number>. Number must be a positive integer")),
    (limits.parse_weight_device, "/dev/null:5", "invalid weight for device: /dev/null:5"),
    (limits.parse_weight_device, "/dev/null:x", "invalid weight for device: /dev/null:x"),
    (limits.parse_blkio_weight, "x", 'invalid value for blkio-weight: strconv.ParseUint: parsing "x": invalid syntax'),
    (limits.parse_blkio_weight, "70000",
    'invalid value for blkio-weight: strconv.ParseUint: parsing "70000": value out of range'),
    (limits.parse_memory, "x", "invalid value for memory: invalid size: 'x'"),
    (limits.parse_memory, "-1", "invalid value for memory: invalid size: '-1'"),
    (limits.parse_memory_swappiness, "200", "invalid value: 200, valid memory swappiness range is 0-100"),
    (limits.parse_cpuset, "x", "invalid value x for cpuset cpus"),
    (limits.parse_cpuset, "3-1", "invalid value 3-1 for cpuset cpus"),
    (limits.parse_cpus, "x", 'strconv.ParseFloat: parsing "x": invalid syntax'),
    (limits.parse_pids_limit, "x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    (limits.parse_unified, "x", "--cgroup-conf must be formatted KEY=VALUE"),
    (limits.parse_sysctl, "x", "x is invalid, sysctl values must be in the form of KEY=VALUE"),
    (limits.parse_sysctl, "foo=1", "sysctl 'foo' is not allowed"),
    (limits.parse_sysctl, "net.a = 1", "'net.a = 1' is invalid, extra spaces found"),
    (limits.parse_sysctl, "net.a=b=c", "'net.a=b=c' is invalid, extra spaces found"),
])
def test_malformed_limits_are_refused_in_podmans_words(parse, text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse(text)
    assert failure.value.message == message


def test_limits_are_read():
    assert limits.parse_cpus("1.5") == (150000, 100000)
    assert limits.parse_cpus("0") == (0, 100000)
    assert [limits.parse_pids_limit(text) for text in ("100", "0", "-1", "-2")] == [100, -1, -1, -1]
    assert limits.parse_memory("512m") == 512 << 20
    assert limits.parse_memory_swap("-1") == -1
    assert limits.parse_memory_swap("1g") == 1 << 30
    assert limits.parse_memory_swappiness("60") == 60
    assert limits.parse_cpuset("0-3,8") == "0-3,8"
    assert limits.parse_unified("memory.high=1=2") == ("memory.high", "1=2")
    assert limits.parse_sysctl("net.ipv4.ip_forward=1") == ("net.ipv4.ip_forward", "1")
    assert limits.parse_sysctl("kernel.msgmax=65536") == ("kernel.msgmax", "65536")


def test_all_capabilities_stand_at_their_numbers():
    assert len(ALL_CAPABILITIES) == 41
    assert [ALL_CAPABILITIES.index(name) for name in ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE",
    "CAP_SETFCAP")] == [0, 21, 24, 31]
    assert set(DEFAULT_CAPABILITIES) < set(ALL_CAPABILITIES)


def test_capabilities_are_added_and_dropped():
    assert merge_capabilities(DEFAULT_CAPABILITIES, [], []) == tuple(sorted(DEFAULT_CAPABILITIES))
    assert "CAP_NET_RAW" in merge_capabilities(DEFAULT_CAPABILITIES, ["net_raw"], [])
    assert "CAP_CHOWN" not in merge_capabilities(DEFAULT_CAPABILITIES, [], ["CAP_CHOWN"])
    assert merge_capabilities(DEFAULT_CAPABILITIES, ["chown", "Net_Raw"], ["all"]) == ("CAP_CHOWN", "CAP_NET_RAW")
    assert merge_capabilities(DEFAULT_CAPABILITIES, [], ["ALL"]) == ()
    assert set(merge_capabilities(DEFAULT_CAPABILITIES, ["all"], ["chown"])) == set(ALL_CAPABILITIES) - {"CAP_CHOWN"}
    assert merge_capabilities(["chown"], [], []) == ("CAP_CHOWN",)


def test_privileged_containers_have_all_that_can_be_given():
    assert set(merge_capabilities((), [], ["chown"], privileged=True)) == set(ALL_CAPABILITIES)
    assert merge_capabilities((), [], [], privileged=True, bounding=["CAP_KILL", "CAP_CHOWN"]) == ("CAP_CHOWN", "CAP_KILL")
    assert merge_capabilities(DEFAULT_CAPABILITIES, ["all"], [], bounding=["CAP_KILL"]) == ("CAP_KILL",)


@pytest.mark.parametrize(("add", "drop", "message"), [
    (["foo"], [], '"CAP_FOO": unknown capability'),
    (["CAP_ALL"], [], '"CAP_ALL": unknown capability'),
    ([], [""], '"CAP_": unknown capability'),
    (["all"], ["all"], "adding all caps and removing all caps not allowed"),
    (["net_admin"], ["NET_ADMIN"], 'capability "CAP_NET_ADMIN" cannot be dropped and added'),
])
def test_contradicting_capabilities_are_refused(add, drop, message):
    with pytest.raises(InvalidArgument) as failure:
        merge_capabilities(DEFAULT_CAPABILITIES, add, drop)
    assert failure.value.message == message
