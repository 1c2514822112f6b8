"""Options and arguments of slirp4netns and pasta, and which clients keep their addresses."""

from __future__ import annotations

import socket

import pytest

from podling.errors import InvalidArgument
from podling.network import pasta, slirp
from podling.network.forwarder import Target, plain
from podling.values.ports import PortMapping


def test_slirp_is_started_as_by_podman() -> None:
    assert slirp.arguments(slirp.parse([]), "/run/netns/x", ready=3, life=4) == [
        "--disable-host-loopback", "--mtu=65520", "--enable-sandbox", "--enable-seccomp", "--enable-ipv6", "-c", "-r", "3", "-e", "4",
        "--netns-type=path", "/run/netns/x", "tap0"]
    options = slirp.parse(["cidr=10.5.0.0/24", "allow_host_loopback=true", "enable_ipv6=false", "outbound_addr=127.0.0.1", "mtu=1500"])
    assert slirp.arguments(options, "/x", ready=3, life=-1, api="/a", sandbox=False) == [
        "--mtu=1500", "--enable-seccomp", "--cidr=10.5.0.0/24", "--outbound-addr=127.0.0.1", "--api-socket", "/a", "-c", "-r", "3",
        "--netns-type=path", "/x", "tap0"]
    assert (options.address(3), options.address(100)) == ("10.5.0.3", "10.5.0.100")


def test_later_options_count_more() -> None:
    assert slirp.parse(["mtu=1400", "mtu=1500"]).mtu == 1500


@pytest.mark.parametrize("text", ["", "mtu", "mtu=", "mtu=x", "cidr=1.2.3.4/33", "cidr=10.0.0.0/30", "outbound_addr6=127.0.0.1", "x=y"])
def test_slirp_options_are_checked(text: str) -> None:
    with pytest.raises(InvalidArgument):
        slirp.parse([text])


def test_pasta_is_started_as_by_podman() -> None:
    ports = [PortMapping(container_port=80, host_port=8080, length=2, host_ip="127.0.0.1"),
             PortMapping(container_port=53, host_port=53, protocol="udp")]
    assert pasta.arguments([], ports, maps_guest=True) == [
        "--config-net", "-t", "127.0.0.1/8080-8081:80-81", "-u", "53-53:53-53", "--dns-forward", "169.254.1.1", "-T", "none", "-U", "none",
        "--no-map-gw", "--map-guest-addr", "169.254.1.2", "--quiet"]
    assert pasta.arguments(["--map-gw", "-T", "auto", "--tcp-ports=auto", "--dns-forward", "1.2.3.4"], [], maps_guest=False) == [
        "--config-net", "-T", "auto", "--tcp-ports=auto", "--dns-forward", "1.2.3.4", "-u", "none", "-U", "none", "--quiet"]
    with pytest.raises(InvalidArgument, match="can't forward protocol: sctp"):
        pasta.arguments([], [PortMapping(container_port=80, host_port=80, protocol="sctp")], maps_guest=False)


def test_what_pasta_gives() -> None:
    given = pasta.status(["-a", "10.1.1.2", "--dns-forward=10.1.1.3", "--map-guest-addr", "10.1.1.4"], maps_guest=False)
    assert (given.addresses, given.dns_servers, given.gateways) == (("10.1.1.2",), ("10.1.1.3",), ("10.1.1.4",))


@pytest.mark.parametrize(("address", "keeps"), [
    ("192.0.2.7", True), ("127.0.0.1", False), ("127.9.9.9", False), ("10.0.2.100", False), ("10.0.2.7", False), ("10.0.3.7", True),
    ("::1", False), ("fe80::1", False), ("2001:db8::7", True), ("fd00::5", False),
])
def test_clients_keep_addresses_that_nobody_near_has(address: str, keeps: bool) -> None:
    target = Target()
    target.mark = 1
    target.add_near("10.0.2.0/24")
    target.add_near("fd00::/64")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert target.keeps(family, address) is keeps
    target.mark = 0
    assert not target.keeps(family, address)


def test_addresses_in_ipv6_sockets() -> None:
    assert plain("::ffff:192.0.2.7") == (socket.AF_INET, "192.0.2.7")
    assert plain("192.0.2.7") == (socket.AF_INET, "192.0.2.7")
    assert plain("fe80::1%eth0") == (socket.AF_INET6, "fe80::1")
