"""Running containers join and leave networks: ours, netavark's with DNS, with published ports, as an ordinary user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir -p /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w")

RESOLVER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.99", 53))
while True:
    data, peer = sock.recvfrom(512)
    end = data.index(b"\\0", 12) + 5
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + bytes([203, 0, 113, 7])
    sock.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0\\1" + bytes(4) + data[12:end] + answer, peer)
"""


@pytest.fixture
def ready(shared_world: World, busybox: Path) -> Iterator[World]:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("podling", "network", "create", "--ignore", "--disable-dns", "plain")
    shared_world.run("podling", "network", "create", "--ignore", "named")
    yield shared_world
    shared_world.run("podling", "rm", "-af", "-t", "0", check=False)


def address(world: World, container: str, network: str) -> str:
    shown = json.loads(world.run("podling", "inspect", container).stdout)[0]["NetworkSettings"]["Networks"]
    found: str = shown[network]["IPAddress"]
    return found


def read(world: World, container: str, path: str) -> str:
    return world.run("podling", "exec", container, "cat", path).stdout


def reaches(world: World, container: str, host: str) -> bool:
    return world.run("podling", "exec", container, "timeout", "5", "wget", "-qO-", f"http://{host}/", check=False).stdout == "served\n"


@pytest.mark.parametrize("network", ["plain", "named"])
def test_a_running_container_joins_and_leaves(ready: World, network: str) -> None:
    ready.run("podling", "run", "-d", "--name", "peer", "--network", network, "bb", *SERVE)
    ready.run("podling", "run", "-d", "--name", "c", "bb", "sleep", "1000")
    peer, hosts, resolv = address(ready, "peer", network), read(ready, "c", "/etc/hosts"), read(ready, "c", "/etc/resolv.conf")
    ready.run("podling", "network", "connect", "--alias", "other", network, "c")
    mine = address(ready, "c", network)
    assert f"inet {mine}/24" in ready.run("podling", "exec", "c", "ip", "addr", "show", "eth1").stdout
    assert f"{peer} dev eth1" in ready.run("podling", "exec", "c", "ip", "route", "get", peer).stdout
    assert reaches(ready, "c", peer)
    assert f"{mine}\t" in read(ready, "c", "/etc/hosts")
    if network == "named":
        assert reaches(ready, "c", "peer")
        assert mine in ready.run("podling", "exec", "peer", "nslookup", "other").stdout
    again = ready.run("podling", "network", "connect", network, "c", check=False)
    assert (again.returncode, "already connected" in again.stderr) == (125, True)
    ready.run("podling", "network", "disconnect", network, "c")
    assert "eth1" not in read(ready, "c", "/proc/net/dev")
    assert (read(ready, "c", "/etc/hosts"), read(ready, "c", "/etc/resolv.conf")) == (hosts, resolv)
    assert "default via 10.88.0.1" in ready.run("podling", "exec", "c", "ip", "route").stdout
    ready.run("podling", "network", "connect", network, "c")
    ready.run("podling", "restart", "-t", "0", "c")
    assert reaches(ready, "c", peer)
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    ready.assert_nothing_left()


@pytest.mark.parametrize(("first", "second"), [("plain", "named"), ("named", "plain")])
def test_published_ports_go_with_the_network_that_is_left(ready: World, first: str, second: str) -> None:
    def fetched() -> str:
        return ready.run("curl", "-sm", "2", "--retry", "5", "--retry-connrefused", "http://127.0.0.1:8085/", check=False).stdout.strip()

    ready.run("podling", "run", "-d", "--name", "web", "-p", "8085:80", "--network", first, "bb", *SERVE)
    ready.run("podling", "network", "connect", second, "web")
    assert fetched() == "served"
    ready.run("podling", "network", "disconnect", first, "web")
    assert fetched() == "served"
    ready.run("podling", "network", "connect", first, "web")
    assert fetched() == "served"
    ready.run("podling", "rm", "-f", "-t", "0", "web")
    ready.assert_nothing_left()


@pytest.mark.parametrize("healing", ["change", "reload"])
def test_a_killed_name_server_comes_back(ready: World, healing: str) -> None:
    def known() -> bool:
        said = ready.run("podling", "exec", "c", "timeout", "2", "nslookup", "-type=a", "peer.dns.podman", check=False).stdout
        return f"Address: {address(ready, 'peer', 'named')}\n" in said

    ready.run("podling", "run", "-d", "--name", "peer", "--network", "named", "bb", *SERVE)
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "bb", "sleep", "1000")
    ready.wait_until(known, "the name server answers")       # it is started in the background
    ready.run("pkill", "-9", "-f", "^[^ ]*aardvark-dns --config")
    assert not known()
    if healing == "change":
        ready.run("podling", "run", "--rm", "--network", "named", "bb", "true")
    else:
        ready.run("podling", "network", "reload", "peer")
    ready.wait_until(known, "the name server answers again")
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    ready.assert_nothing_left()


def test_servers_of_a_network_change_while_it_is_used(ready: World) -> None:
    told = ready.path("/run/containers/podling/networks/aardvark-dns/named")
    resolver = ready.spawn("python3", "-c", RESOLVER)
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "bb", "sleep", "1000")
    ask = ("podling", "exec", "c", "timeout", "3", "nslookup", "-type=a", "upstream.example.org", "10.89.1.1")
    ready.run("podling", "network", "update", "--dns-add", "127.0.0.99", "named")
    assert "203.0.113.7" in ready.run(*ask, check=False).stdout
    ready.run("podling", "network", "reload", "c")
    assert "203.0.113.7" in ready.run(*ask, check=False).stdout
    ready.run("podling", "network", "update", "--dns-drop", "127.0.0.99", "named")
    assert told.read_text().splitlines()[0] == "10.89.1.1"
    resolver.kill()
    resolver.wait()
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()


def test_a_refused_address_leaves_nothing(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "c", "bb", "sleep", "1000")
    refused = ready.run("podling", "network", "connect", "--ip", "192.0.2.7", "named", "c", check=False)
    assert (refused.returncode, "not in any subnet" in refused.stderr) == (125, True)
    assert ready.run("podling", "ps", "--format", "{{.Networks}}").stdout == "podman\n"
    assert "eth1" not in read(ready, "c", "/proc/net/dev")
    ready.run("podling", "network", "disconnect", "podman", "c")           # its last one
    assert "eth0" not in read(ready, "c", "/proc/net/dev")
    ready.run("podling", "network", "connect", "podman", "c")
    assert "inet 10.88." in ready.run("podling", "exec", "c", "ip", "addr", "show", "eth0").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()


@pytest.mark.parametrize("network", ["plain", "named"])
def test_a_bridge_keeps_its_hardware_address(ready: World, network: str) -> None:
    """It would follow the lowest of its ports', and the others would look for their gateway in vain."""
    bridge = ready.run("podling", "network", "inspect", "--format", "{{.NetworkInterface}}", network).stdout.strip()

    def gateway() -> str:
        return ready.run("ip", "-br", "link", "show", bridge).stdout.split()[2]

    ready.run("podling", "run", "-d", "--name", "c", "--network", network, "bb", "sleep", "1000")
    before = gateway()
    assert before.count(":") == 5
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"):
        ready.run("podling", "run", "--rm", "--network", f"{network}:mac={mac}", "bb", "true")
        ready.run("podling", "run", "-d", "--name", "other", "--network", network, "bb", "sleep", "1000")
        assert gateway() == before
        ready.run("podling", "rm", "-f", "-t", "0", "other")
        assert gateway() == before
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()
