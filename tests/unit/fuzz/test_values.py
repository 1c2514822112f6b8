"""Whatever text comes, the parsers of values refuse it with InvalidArgument or read it, quickly; what they read they write."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import InvalidArgument
from podling.values import addresses, gotext, isolation, limits, mounts, ports, reference, signals, units

PARSERS = {
    "size": units.parse_size, "size_decimal": units.parse_size_decimal, "duration": units.parse_duration,
    "seconds": units.parse_seconds,
    "time": lambda text: units.parse_time(text, now=10**18), "rfc3339": units.parse_rfc3339, "signal": signals.parse,
    "reference": reference.parse, "digest": reference.parse_digest, "tag": reference.check_tag, "publish": ports.parse_publish,
    "expose": ports.parse_expose, "ulimit": limits.parse_ulimit, "device": limits.parse_device,
    "rule": limits.parse_device_rule,
    "bps": limits.parse_device_bps, "iops": limits.parse_device_iops, "weight": limits.parse_weight_device,
    "cpus": limits.parse_cpus,
    "pids": limits.parse_pids_limit, "memory": limits.parse_memory, "swap": limits.parse_memory_swap,
    "cpuset": limits.parse_cpuset,
    "swappiness": limits.parse_memory_swappiness, "blkio": limits.parse_blkio_weight, "unified": limits.parse_unified,
    "sysctl": limits.parse_sysctl, "capability": limits.normalise_capability, "network": isolation.parse_network,
    "security": lambda text: isolation.parse_security_opts([text]), "ip": addresses.parse_ip, "mac": addresses.parse_mac,
    "pid": lambda text: isolation.parse_namespace("pid", text), "ipc": lambda text: isolation.parse_namespace("ipc", text),
    "user": lambda text: isolation.parse_namespace("user", text), "volume": lambda text: mounts.parse_volume(text, cwd="/cwd"),
    "mount": lambda text: mounts.parse_mount(text, cwd="/cwd"),
    "mount-bind": lambda text: mounts.parse_mount(f"type=bind,{text}", cwd="/"),
    "mount-tmpfs": lambda text: mounts.parse_mount(f"type=tmpfs,dst=/b,{text}"), "tmpfs": mounts.parse_tmpfs,
    "destination": mounts.clean_destination, "csv": gotext.split_csv, "int": lambda text: gotext.parse_int(text, base=0),
    "uint": gotext.parse_uint, "float": gotext.parse_float, "bool": gotext.parse_bool,
}
WORDS = [
    "", ":", "/", "-", ",", "=", "@", ".", "..", "[", "]",
    '"', " ", "0", "1", "80", "65536", "-1", "1e9", "9" * 30, "k", "mb", "gib", "h", "ms",
    "tcp", "udp", "a", "A", "web", "/a", "/dev/sda", "localhost", "docker.io", "sha256", "::1", "10.0.0.1", "0x", "_", "ro",
    "rw", "z", "Z",
    "U", "O", "type", "bind", "tmpfs", "src", "dst", "bridge", "host", "container", "ns", "ip", "mac", "alias", "keep-id",
    "uid", "seccomp",
    "unconfined", "RTMIN+", "SIG", "net.", "2024-01-02", "T03:04:05", "Z", "nofile", "c", "*", "rwm", "\0", "\n", "é",
    "\udc80", "٣", "²",
]
TEXTS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=12).map("".join), st.text(max_size=30))


@given(TEXTS)
def test_parsers_read_or_refuse(text):
    for parse in PARSERS.values():
        try:
            parse(text)
        except InvalidArgument as error:
            assert error.message  # noqa: PT017 - any error of another class is the failure


@pytest.mark.parametrize("unit", [*WORDS, "a-", "a.", "1:", "ip=", "1h", '"a",', "./", "a/b", "[:"])
def test_long_texts_take_no_time(unit):
    text = unit * (30_000 // max(len(unit), 1))
    started = time.monotonic()
    for parse in PARSERS.values():
        try:
            parse(text)
        except InvalidArgument:
            pass
    assert time.monotonic() - started < 5


def digits(least, most):
    return st.integers(least, most)


@given(digits(1, 65535), digits(0, 65535), digits(1, 300), st.sampled_from(ports.PROTOCOLS),
       st.sampled_from(["", "10.0.0.1", "fe80::1"]))
def test_ports_are_written_as_they_are_read(container, host, length, protocol, address):
    length = min(length, 65536 - max(container, host))
    mapping = ports.PortMapping(container_port=container, host_port=host, length=length, protocol=protocol, host_ip=address)
    assert ports.parse_publish(str(mapping)) == mapping


@given(st.lists(st.tuples(digits(1, 60), digits(0, 60), digits(1, 5)), max_size=12))
def test_merging_ports_keeps_every_mapping(asked):
    mappings = [ports.PortMapping(container_port=container, host_port=host, length=length) for container, host, length in asked]
    try:
        merged = ports.merge_ports(mappings)
    except InvalidArgument:
        return

    def pairs(mapping):
        host, container = mapping.host_port, mapping.container_port
        return {(host + index if host else 0, container + index) for index in range(mapping.length)}

    assert set().union(*map(pairs, merged)) == set().union(*map(pairs, mappings))
    fixed = [pair for mapping in merged if mapping.host_port for pair in pairs(mapping)]
    assert len({host for host, _ in fixed}) == len(fixed)
    assert ports.merge_ports(merged) == merged


@given(st.integers(-(2**63), 2**63 - 1))
def test_durations_are_written_as_they_are_read(duration):
    assert units.parse_duration(units.format_duration(duration)) == duration


@given(st.integers(-62135596800, 253402300799), st.integers(0, 999_999_999))
def test_times_are_written_as_they_are_read(seconds, fraction):
    nanoseconds = seconds * units.SECOND + fraction
    assert units.parse_rfc3339(units.format_rfc3339(nanoseconds)) == nanoseconds


@given(st.integers(0, 2**63 - 1))
def test_sizes_in_bytes_are_read_as_they_are(size):
    assert units.parse_size(str(size)) == size


@given(st.lists(digits(0, 65535), min_size=8, max_size=8))
def test_addresses_are_written_as_they_are_read(groups):
    text = ":".join(f"{group:x}" for group in groups)
    normal = addresses.parse_ip(text)
    assert addresses.parse_ip(normal) == normal


PIECES = ["a", "0", "app", "x9"]
COMPONENT = st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), st.sampled_from(PIECES)), max_size=3).map(
    lambda pairs: "a" + "".join(separator + piece for separator, piece in pairs))


@given(st.sampled_from(["", "docker.io", "localhost", "quay.io:5000", "[::1]:5000"]),
       st.lists(COMPONENT, min_size=1, max_size=4),
       st.sampled_from(["", "latest", "_.-", "1.25-alpine", "A" * 128]), st.booleans())
def test_references_are_written_as_they_are_read(registry, parts, tag, has_digest):
    if not registry and len(parts) > 1 and ("." in parts[0] or parts[0] == "localhost"):
        return
    if registry == "docker.io" and len(parts) == 1:
        parts = ["library", *parts]
    if len(parts) == 1 and not registry and len(parts[0]) == 64:
        return
    digest = "sha256:" + "0a" * 32 if has_digest else ""
    found = reference.Reference(registry=registry, repository="/".join(parts), tag=tag, digest=digest)
    assert reference.parse(str(found)) == found
    assert reference.parse(found.familiar()).qualified(registry or "docker.io") == found.qualified(registry or "docker.io")


@given(TEXTS)
def test_quoting_hides_nothing(text):
    from podling.cli.gotemplate.literals import unquote

    assert unquote(gotext.quote(text)) == text


VOLUME = st.builds(
    "{}:{}{}".format, st.sampled_from(["/a", "data", "/x y", "./r", "/é"]), st.sampled_from(["/b", "/b/c", "/b/../d"]),
    st.lists(st.sampled_from(["ro", "z", "Z", "U", "rslave", "nosuid", "idmap", "idmap=uids=0-1-2", "noexec", "bind", "nocopy",
                              "O"]), unique=True, max_size=4).map(lambda options: ":" + ",".join(options) if options else ""))


@given(VOLUME)
def test_volumes_are_written_as_they_are_read(text):
    try:
        mount = mounts.parse_volume(text, cwd="/cwd")
    except InvalidArgument:
        return
    assert mounts.parse_volume(mounts.format_volume(mount)) == mount


NETWORKS = ["a", "b:alias=x", "c:ip=10.0.0.1,mac=92:d0:c6:0a:29:33", "bridge:interface_name=e0", "d:x=y"]


@given(st.lists(st.sampled_from(NETWORKS), max_size=4))
def test_networks_are_written_as_they_are_read(texts):
    try:
        mode, networks = isolation.parse_network(texts)
    except InvalidArgument:
        return
    if networks:
        assert isolation.parse_network([str(network) for network in networks]) == (mode, networks)
