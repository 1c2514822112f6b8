"""What networks and published ports become in the firewall, and the netlink messages that say it."""

from __future__ import annotations

from podling.linux import netlink
from podling.network.firewall import Forward, NetworkRules, forwards, nftables
from podling.values.ports import PortMapping

TCP = b"\x06\0\0\0"


def test_a_port_is_forwarded_for_each_family_that_the_container_has() -> None:
    ports = (PortMapping(container_port=80, host_port=8080), PortMapping(container_port=81, host_port=8081, host_ip="::1"))
    found = forwards(ports, ("10.88.0.2", "fd00::2", "10.89.0.2"))
    assert [(each.host_port, each.address, each.host_ip) for each in found] == [
        (8080, "10.88.0.2", ""), (8080, "fd00::2", ""), (8081, "fd00::2", "::1")]


def test_a_run_of_ports_that_keep_their_numbers_is_one_element() -> None:
    found = nftables._port_elements([Forward(protocol="tcp", host_port=20000, container_port=20000, address="10.88.0.2", length=1000)])
    assert found == [("same4", [(bytes(4) + TCP + b"\x4e\x20\0\0", b"\xff" * 4 + TCP + b"\x52\x07\0\0", b"\x0a\x58\0\x02")])]


def test_other_runs_have_an_element_a_port() -> None:
    forward = Forward(protocol="tcp", host_port=8000, container_port=80, address="10.88.0.2", length=450, host_ip="127.0.0.1")
    found = nftables._port_elements([forward])
    assert [(name, len(elements)) for name, elements in found] == [("ports4", 200), ("ports4", 200), ("ports4", 50)]
    key = b"\x7f\0\0\x01" + TCP + b"\x1f\x41\0\0"
    assert found[0][1][1] == (key, key, b"\x0a\x58\0\x02" + b"\0\x51\0\0")


def test_an_internal_network_is_not_masqueraded() -> None:
    names = [name for name, _ in nftables._network_elements(NetworkRules(
        interface="podman1", subnets=("10.89.0.0/24",), isolate="strict", internal=True))]
    assert names == ["bridges", "within", "strict", "internal", "within4"]


def test_attributes_are_read_as_they_were_written() -> None:
    written = netlink.u32(1, 7) + netlink.text(2, "eth0") + netlink.nested(3, netlink.u8(4, 1))
    read = netlink.attributes(written)
    assert read[1] == (7).to_bytes(4, netlink.BYTE_ORDER)
    assert read[2] == b"eth0\0"
    assert netlink.attributes(read[3])[4] == b"\x01"
