"""macvlan networks: a client on the parent's wire reaches the container by its own address, static or by DHCP; who cannot is told why."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.users import User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

CLIENT = ("ip", "netns", "exec", "client")
SERVE = ("sh", "-c", "mkdir -p /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w")
OVERRIDE = "/etc/containers/override.conf"
# A directory with a netavark of another version than this host's.
HELPERS = os.environ.get("PODLING_TEST_HELPERS", "/usr/lib/podman")

# DHCP (RFC 2131) for one address at a time, long enough for a test: it says what it was asked.
DHCP_SERVER = """
import socket
names = {1: "discover", 3: "request", 7: "release"}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"wire")
sock.bind(("", 67))
print("ready", flush=True)
while True:
    data = sock.recv(2048)
    options, at = {}, 240
    while at < len(data) and data[at] != 255:
        if data[at]:
            options[data[at]] = data[at + 2:at + 2 + data[at + 1]]
            at += 1 + data[at + 1]
        at += 1
    kind = options[53][0]
    print(names.get(kind, kind), data[28:34].hex(":"), "as", options.get(61, b"").hex(":"), flush=True)
    if kind in (1, 3):
        head = b"\\2" + data[1:16] + bytes([10, 99, 0, 151]) + bytes([10, 99, 0, 1]) + data[24:236]
        said = {53: bytes([2 if kind == 1 else 5]), 54: bytes([10, 99, 0, 1]), 51: (8).to_bytes(4, "big"), 1: bytes([255, 255, 255, 0]),
                3: bytes([10, 99, 0, 1]), 6: bytes([10, 99, 0, 1])}
        body = b"".join(bytes([code, len(value)]) + value for code, value in said.items()) + b"\\xff"
        sock.sendto(head + data[236:240] + body, ("255.255.255.255", 68))
"""


@pytest.fixture(scope="module")
def prepared(shared_world: World, busybox: Path) -> World:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("sh", "-ec", """
        ip link add parent type veth peer name wire; ip netns add client; ip link set wire netns client; ip link set parent up
        ip -n client addr add 10.99.0.1/24 dev wire; ip -n client link set wire up; ip -n client link set lo up""")
    shared_world.before = shared_world.observe()
    return shared_world


@pytest.fixture
def ready(prepared: World) -> Iterator[World]:
    yield prepared
    prepared.run("podling", "rm", "-af", "-t", "0", check=False)
    prepared.run("podling", "network", "prune", "-f", check=False)
    prepared.assert_nothing_left(ignore=lambda kind, thing: kind == "process" and "dhcp-proxy" in thing)


def fetched(world: World, host: str) -> str:
    return world.run(*CLIENT, "curl", "-sm", "2", "--retry", "3", "--retry-connrefused", f"http://{host}/", check=False).stdout


def test_a_client_on_the_wire_reaches_the_container(ready: World) -> None:
    ready.run("podling", "network", "create", "-d", "macvlan", "-o", "parent=parent", "--subnet", "10.99.0.0/24", "--ip-range",
              "10.99.0.64/28", "mv")
    ready.run("podling", "run", "-d", "--name", "w", "--network", "mv:ip=10.99.0.50", "bb", *SERVE)
    assert fetched(ready, "10.99.0.50") == "served\n"
    assert "default via 10.99.0.1" in ready.run("podling", "exec", "w", "ip", "route").stdout
    ready.run("podling", "run", "-d", "--name", "c", "bb", *SERVE)
    ready.run("podling", "network", "connect", "mv", "c")
    address = json.loads(ready.run("podling", "inspect", "c").stdout)[0]["NetworkSettings"]["Networks"]["mv"]["IPAddress"]
    assert address == "10.99.0.65"
    assert fetched(ready, address) == "served\n"
    ready.run("podling", "network", "disconnect", "mv", "c")
    assert ready.run(*CLIENT, "curl", "-sm", "1", f"http://{address}/", check=False).stdout == ""


def test_a_parent_that_is_gone_is_told(ready: World) -> None:
    ready.run("ip", "link", "add", "gone", "type", "veth")
    ready.run("podling", "network", "create", "-d", "macvlan", "-o", "parent=gone", "--subnet", "10.98.0.0/24", "mv")
    ready.run("ip", "link", "delete", "gone")
    ready.run("ip", "link", "delete", "veth0", check=False)
    refused = ready.run("podling", "run", "--rm", "--network", "mv", "bb", "true", check=False)
    assert (refused.returncode, "its parent interface gone does not exist" in refused.stderr) == (126, True)


def test_an_ordinary_user_is_told_why_not(ready: World, busybox: Path) -> None:
    user = User(ready)
    user.load(busybox)
    user.podling("network", "create", "-d", "macvlan", "-o", "parent=parent", "--subnet", "10.99.0.0/24", "mv")
    user.podling("network", "create", "-d", "macvlan", "-o", "parent=parent", "dhcp")
    for network in ("mv", "dhcp"):
        said = user.podling("run", "--rm", "--network", network, "bb", "true", status=126)
        assert "the driver macvlan needs root: an ordinary user's networks are apart from the host's interfaces" in said
    ready.before = ready.observe()


def speaks_dhcp(world: World) -> bool:
    return world.run(f"{HELPERS}/netavark", "dhcp-proxy", "--help", check=False).returncode == 0


def test_dhcp_needs_a_newer_netavark(ready: World) -> None:
    if speaks_dhcp(ready):
        pytest.skip("this netavark has a proxy for DHCP")
    ready.run("podling", "network", "create", "-d", "macvlan", "-o", "parent=parent", "dhcp")
    refused = ready.run("podling", "run", "--rm", "--network", "dhcp", "bb", "true", check=False)
    assert refused.returncode == 126
    assert "network dhcp: addresses by DHCP need netavark 1.6 or newer: /usr/lib/podman/netavark is netavark 1." in refused.stderr


def test_ipvlan_needs_a_newer_netavark(ready: World) -> None:
    version = ready.run("/usr/lib/podman/netavark", "--version").stdout.split()[-1]
    if not version.startswith("1.4."):
        pytest.skip(f"netavark {version} knows ipvlan")
    ready.run("podling", "network", "create", "-d", "ipvlan", "-o", "parent=parent", "--subnet", "10.99.0.0/24", "iv")
    refused = ready.run("podling", "run", "--rm", "--network", "iv", "bb", "true", check=False)
    assert refused.returncode == 126
    assert f"the driver ipvlan needs a newer netavark than 1.4: /usr/lib/podman/netavark is netavark {version}" in refused.stderr


def test_addresses_by_dhcp(ready: World) -> None:
    """Got, renewed after half their time, and released when the container ends."""
    if not speaks_dhcp(ready):
        pytest.skip("needs netavark 1.6 or newer (PODLING_TEST_HELPERS names a directory with one)")
    ready.path(OVERRIDE).write_text(f'[engine]\nhelper_binaries_dir = ["{HELPERS}"]\n', encoding="ascii")
    env = {"CONTAINERS_CONF_OVERRIDE": OVERRIDE}
    log = ready.path("/run/dhcp.log")
    with open(log, "wb") as file:
        server = ready.spawn(*CLIENT, "/usr/bin/python3", "-c", DHCP_SERVER, stdout=file, stderr=subprocess.STDOUT)
    ready.wait_until(lambda: "ready" in log.read_text(), "the DHCP server")
    ready.run("podling", "network", "create", "-d", "macvlan", "-o", "parent=parent", "dhcp", env=env)
    ready.run("podling", "run", "-d", "--name", "w", "--network", "dhcp", "bb", *SERVE, env=env)
    assert fetched(ready, "10.99.0.151") == "served\n"
    shown = json.loads(ready.run("podling", "inspect", "w", env=env).stdout)[0]["NetworkSettings"]["Networks"]["dhcp"]
    assert (shown["IPAddress"], shown["IPPrefixLen"], shown["Gateway"]) == ("10.99.0.151", 24, "10.99.0.1")
    assert "default via 10.99.0.1" in ready.run("podling", "exec", "w", "ip", "route", env=env).stdout
    assert "nameserver 10.99.0.1" in ready.run("podling", "exec", "w", "cat", "/etc/resolv.conf", env=env).stdout
    ready.wait_until(lambda: log.read_text().count("request") > 1, f"renewed: {log.read_text()}")
    ready.run("podling", "stop", "-t", "0", "w", env=env)
    client = next(line.partition(" ")[2] for line in log.read_text().splitlines() if "request" in line)
    ready.wait_until(lambda: f"release {client}" in log.read_text(), "released, by the same client")
    ready.run("podling", "start", "w", env=env)
    ready.run("pkill", "-9", "-f", "netavark dhcp-proxy")
    ready.run("podling", "rm", "-f", "-t", "0", "w", env=env)                     # it is started again to undo its part
    server.kill()
    server.wait()
    ready.run("pkill", "-9", "-f", "netavark dhcp-proxy", check=False)
