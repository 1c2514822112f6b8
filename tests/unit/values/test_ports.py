"""Published and exposed ports; the messages are what Podman answered to the same texts."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values import ports
from podling.values.ports import PortMapping, format_ports, merge_ports, parse_expose, parse_publish


@pytest.mark.parametrize(("text", "mapping"), [
    ("80", PortMapping(container_port=80)),
    (":80", PortMapping(container_port=80)),
    ("8080:80", PortMapping(container_port=80, host_port=8080)),
    ("8080:80/UDP", PortMapping(container_port=80, host_port=8080, protocol="udp")),
    ("80/sctp", PortMapping(container_port=80, protocol="sctp")),
    ("1.2.3.4:8080:80", PortMapping(container_port=80, host_port=8080, host_ip="1.2.3.4")),
    ("1.2.3.4::80", PortMapping(container_port=80, host_ip="1.2.3.4")),
    ("0.0.0.0:8080:80", PortMapping(container_port=80, host_port=8080)),
    ("[::1]:8080:80", PortMapping(container_port=80, host_port=8080, host_ip="::1")),
    ("[FE80::0001]::80/tcp", PortMapping(container_port=80, host_ip="fe80::1")),
    ("8080-8090:80-90", PortMapping(container_port=80, host_port=8080, length=11)),
    ("80-82", PortMapping(container_port=80, length=3)),
])
def test_published_ports_are_read(text, mapping):
    assert parse_publish(text) == mapping
    assert parse_publish(str(mapping)) == mapping


@pytest.mark.parametrize(("text", "message"), [
    ("x", 'parsing container port: invalid port number: strconv.Atoi: parsing "x": invalid syntax'),
    ("0", "parsing container port: port numbers must be between 1 and 65535 (inclusive), got 0"),
    ("70000", "parsing container port: port numbers must be between 1 and 65535 (inclusive), got 70000"),
    ("80:", "must provide a non-empty container port to publish"),
    ("80:80/", "must provide a non-empty protocol to publish"),
    ("80:80/foo", 'unrecognized protocol "foo" in port mapping'),
    ("80:80/tcp/udp", "invalid port format - protocol can only be specified once"),
    ("1.2.3:80:80", 'cannot parse "1.2.3" as an IP address'),
    ("[::1]:80", "invalid port format - must provide host and destination port if specifying an IP"),
    ("::1:80:80", "invalid port format - format is [[hostIP:]hostPort:]containerPort"),
    ("[::1]80:80", "invalid port format - IPv6 address must be followed by a colon (':')"),
    ("::1]:80:80", "invalid port format - IPv6 addresses must be enclosed by []"),
    ("a]b]c", "invalid port format - at most one IPv6 address can be specified in a --publish"),
    ("[::1]:1:2:3", "invalid port format - when v6 address specified, must be [ipv6]:hostPort:ctrPort"),
    ("80-82:80-81", "host and container port ranges have different lengths: 3 vs 2"),
    ("82-80:82-80",
    "parsing container port: the end port of a range must be higher than the start port - 80 is not higher than 82"),
    ("80-:80", "parsing host port: must provide ending number for port range"),
    ("-5:80", "parsing host port: port numbers cannot be negative"),
    ("1-2-3", "parsing container port: invalid port format - port ranges are formatted as startPort-stopPort"),
    (":80:80", "must provide a non-empty container host IP to publish"),
    ("0:80", "parsing host port: port numbers must be between 1 and 65535 (inclusive), got 0"),
])
def test_malformed_ports_are_refused_in_podmans_words(text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_publish(text)
    assert failure.value.message == message


@pytest.mark.parametrize(("texts", "shown"), [
    (["8080:80"], "0.0.0.0:8080->80/tcp"),
    (["8080:80", "8081:81"], "0.0.0.0:8080-8081->80-81/tcp"),
    (["8081:81", "8080:80"], "0.0.0.0:8080-8081->80-81/tcp"),
    (["8080:80", "8082:82"], "0.0.0.0:8080->80/tcp, 0.0.0.0:8082->82/tcp"),
    (["8080:80", "8081:90"], "0.0.0.0:8080->80/tcp, 0.0.0.0:8081->90/tcp"),
    (["8080-8090:80-90", "8085:85"], "0.0.0.0:8080-8090->80-90/tcp"),
    (["53:53/udp", "53:53"], "0.0.0.0:53->53/udp, 0.0.0.0:53->53/tcp"),
    (["1.2.3.4:80:80", "[::1]:80:80"], "1.2.3.4:80->80/tcp, ::1:80->80/tcp"),
    (["8080:80", "8080:80"], "0.0.0.0:8080->80/tcp"),
    ([], ""),
])
def test_neighbours_are_joined_and_shown_as_ps_does(texts, shown):
    assert format_ports(merge_ports(map(parse_publish, texts))) == shown


def test_ports_to_be_chosen_come_last_and_only_join_where_they_overlap():
    merged = merge_ports(map(parse_publish, ["80-82", "81-84", "90", "8080:80"]))
    assert [str(port) for port in merged] == ["8080:80/tcp", "80-84/tcp", "90/tcp"]


@pytest.mark.parametrize("texts", [["80-85:80-85", "82:90"], ["80:80", "80:81"]])
def test_one_host_port_cannot_lead_to_two(texts):
    with pytest.raises(InvalidArgument, match=r"^conflicting port mappings for host port 8[02] \(protocol tcp\)$"):
        merge_ports(map(parse_publish, texts))


def test_overlap_looks_at_addresses_protocols_and_ranges():
    def both(one, other):
        return ports.overlap(parse_publish(one), parse_publish(other))

    assert both("80:80", "80:81")
    assert both("80-90:80-90", "1.2.3.4:90:1")
    assert not both("1.2.3.4:80:80", "1.2.3.5:80:80")
    assert not both("80:80", "80:80/udp")
    assert not both("80-89:80-89", "90:80")
    assert not both("80", "80")


@pytest.mark.parametrize(("text", "exposed"), [
    ("80", ("80/tcp",)), ("80/udp", ("80/udp",)), ("80-82/TCP", ("80/tcp", "81/tcp", "82/tcp")), ("80/", ("80/tcp",)),
])
def test_exposed_ports_are_read(text, exposed):
    assert parse_expose(text) == exposed
    assert [f"{port}/{protocol}" for port, protocol in map(ports.split_exposed, exposed)] == list(exposed)


@pytest.mark.parametrize(("text", "message"), [
    ("80/tcp/udp", "invalid expose format - protocol can only be specified once"),
    ("80/foo", 'unrecognized protocol "foo" in port mapping'),
    ("x", 'invalid range format for --expose: x: invalid port number: strconv.Atoi: parsing "x": invalid syntax'),
    ("80:80", ("invalid range format for --expose: 80:80: invalid port number: "
              'strconv.Atoi: parsing "80:80": invalid syntax')),
])
def test_malformed_exposed_ports_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_expose(text)
    assert failure.value.message == message


def test_exposed_ports_are_shown_unless_they_are_published():
    exposed = ["80/tcp", "81/tcp", "82/tcp", "85/tcp", "53/udp"]
    assert format_ports([], exposed) == "80-82/tcp, 85/tcp, 53/udp"
    assert format_ports([parse_publish("8080:81")], exposed) == "0.0.0.0:8080->81/tcp, 80/tcp, 82/tcp, 85/tcp, 53/udp"
