"""The default network by our own bridge driver: reachable, published, reloaded, gone; beside Podman's."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from podling.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir -p /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w")


@pytest.fixture
def ready(shared_world: World, busybox: Path) -> Iterator[World]:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    yield shared_world
    shared_world.run("podling", "rm", "-af", "-t", "0", check=False)
    shared_world.run("ip", "link", "delete", "uplink9", check=False)


def fetched(world: World, url: str) -> str:
    """What a web server of a container says."""
    return world.run("curl", "-gsm", "2", "--retry", "5", "--retry-connrefused", "--retry-delay", "0", url, check=False).stdout.strip()


def table(world: World) -> str:
    return world.run("nft", "list", "table", "inet", "podling", check=False).stdout


def host_address(world: World) -> str:
    """An address of the world that is not its loopback's."""
    world.run("ip", "link", "add", "uplink9", "type", "veth", check=False)
    world.run("ip", "addr", "add", "198.51.100.1/24", "dev", "uplink9", check=False)
    return "198.51.100.1"


def test_published_ports_are_reached_and_everything_goes(ready: World) -> None:
    outside = host_address(ready)
    ready.run("podling", "run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "bb", *SERVE)
    assert fetched(ready, "http://127.0.0.1:8080/") == "served"
    assert fetched(ready, f"http://{outside}:8080/") == "served"
    assert fetched(ready, "http://127.0.0.1:8081/") == "served"
    assert ready.run("curl", "-sm", "2", f"http://{outside}:8081/", check=False).returncode == 7      # refused
    inside = ready.run("podling", "run", "--rm", "bb", "timeout", "5", "wget", "-qO-", f"http://{outside}:8080/").stdout
    assert inside.strip() == "served"                                    # the way of another container, over the host's port
    own = ready.run("podling", "exec", "web", "timeout", "5", "wget", "-qO-", f"http://{outside}:8080/").stdout
    assert own.strip() == "served"                                       # and the way back to itself
    ready.run("podling", "rm", "-f", "-t", "0", "web")
    ready.run("ip", "link", "delete", "uplink9")
    ready.assert_nothing_left()
    ready.wait_until(lambda: not table(ready), "the table goes")


def test_inspect_tells_the_interface_as_it_is(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "c", "--mac-address", "92:d0:c6:0a:29:33", "bb", "sleep", "100")
    shown = ready.run("podling", "inspect", "--format", "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}} "
                      "{{.NetworkSettings.Gateway}}", "c").stdout.split()
    link = ready.run("podling", "exec", "c", "ip", "addr", "show", "eth0").stdout
    assert f"inet {shown[0]}/16" in link
    assert shown[1:] == ["92:d0:c6:0a:29:33", "10.88.0.1"]
    assert "92:d0:c6:0a:29:33" in link
    assert "default via 10.88.0.1 dev eth0" in ready.run("podling", "exec", "c", "ip", "route").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()


def test_reload_restores_flushed_rules(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "web", "-p", "8080:80", "bb", *SERVE)
    assert fetched(ready, "http://127.0.0.1:8080/") == "served"
    ready.run("nft", "flush", "ruleset")
    ready.run("podling", "network", "reload", "--all")
    assert fetched(ready, "http://127.0.0.1:8080/") == "served"
    ready.run("podling", "rm", "-f", "-t", "0", "web")
    ready.assert_nothing_left()


def test_a_thousand_ports_are_one_element(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "many", "-p", "20000-20999:20000-20999", "bb", "httpd", "-f", "-p", "20500")
    assert "20000-20999" in table(ready)
    assert ready.run("curl", "-sm", "2", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:20500/").stdout == "404"
    ready.run("podling", "rm", "-f", "-t", "0", "many")
    ready.assert_nothing_left()


def test_a_host_that_drops_forwarded_packets_lets_ours_through(ready: World) -> None:
    ready.run("sh", "-ec", """
        ip netns add outside; ip link add uplink8 type veth peer name eth0 netns outside; ip link set uplink8 up
        ip addr add 203.0.113.1/24 dev uplink8
        ip netns exec outside sh -ec 'ip link set eth0 up; ip addr add 203.0.113.2/24 dev eth0'
        iptables -P FORWARD DROP
    """)
    ready.run("podling", "run", "-d", "--name", "web", "-p", "8080:80", "bb", *SERVE)
    got = ready.run("ip", "netns", "exec", "outside", "curl", "-sm", "3", "http://203.0.113.1:8080/", check=False).stdout
    assert got.strip() == "served"
    ready.run("podling", "rm", "-f", "-t", "0", "web")
    ready.run("sh", "-ec", "ip netns delete outside; ip link delete uplink8 2>/dev/null || true; iptables -P FORWARD ACCEPT")
    ready.assert_nothing_left()


def test_killed_between_set_up_and_end_heals(ready: World) -> None:
    for number in range(6):
        started = ready.spawn("podling", "run", "--name", f"k{number}", "-p", "8090:80", "bb", "sleep", "100")
        time.sleep(0.03 + number * 0.02)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        ready.run("podling", "rm", "-f", "-t", "0", f"k{number}", check=False)
    ready.assert_nothing_left()
    ready.wait_until(lambda: not table(ready), "the table goes")


def test_containers_of_podman_are_reached(ready: World, busybox: Path) -> None:
    ready.podman("load", "-q", "-i", str(busybox))
    ready.podman("network", "create", "--subnet", "10.77.0.0/24", "theirs")
    ready.podman("run", "-d", "--name", "web", "--network", "theirs", "--ip", "10.77.0.5", "bb", *SERVE)
    assert ready.run("podling", "run", "--rm", "bb", "timeout", "5", "wget", "-qO-", "http://10.77.0.5/").stdout.strip() == "served"
    ready.podman("rm", "-f", "-t", "0", "web")
    ready.podman("network", "rm", "theirs")


ECHO = ("import socket, sys; s = socket.socket(2, 2); s.bind(('', 53)); print('ready', flush=True)\n"
        "while True: s.sendto(sys.argv[1].encode(), s.recvfrom(99)[1])")
# Never silent for long enough that the connection tracker would forget it.
ASK = """
import socket, time
s = socket.socket(2, 2); s.settimeout(0.05); s.bind(("127.0.0.1", 5555)); s.connect(("127.0.0.1", 5300))
while True:
    try:
        s.send(b"?"); print(s.recv(99).decode(), flush=True)
    except OSError:
        pass
    time.sleep(0.02)
"""


def test_udp_clients_that_never_stop_find_each_new_container(ready: World) -> None:
    log = ready.path("/run/answers")
    with open(log, "wb") as file:
        asker = ready.spawn("/usr/bin/python3", "-c", ASK, stdout=file)
    host = ("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro")
    for name in ("first", "second"):
        ready.run("podling", "run", "-d", "--name", name, "-p", "5300:53/udp", *host, "bb", "/usr/bin/python3", "-c", ECHO, name)
        ready.wait_until(lambda name=name: name in log.read_text(), f"{name} answers")  # type: ignore[misc]
        ready.run("podling", "rm", "-f", "-t", "0", name)
    asker.kill()
    asker.wait()
    ready.assert_nothing_left()


# The part of firewalld's D-Bus service that sources of zones are; it writes down what it was asked.
BUSCTL = """#!/bin/sh
shift 5
echo "$*" >>/run/fake/asked
case $1 in
    querySource) grep -qxF "$4" /run/fake/sources && echo b true || echo b false ;;
    addSource) echo "$4" >>/run/fake/sources ;;
    removeSource) grep -vxF "$4" /run/fake/sources >/run/fake/others; mv /run/fake/others /run/fake/sources ;;
esac
"""


def test_firewalld_is_told_of_subnets_once(ready: World) -> None:
    ready.run("sh", "-ec", "mkdir -p /run/fake; cat >/run/fake/busctl; chmod 755 /run/fake/busctl; : >/run/fake/sources; "
              "nft add table inet firewalld", stdin=BUSCTL.encode())
    env = {"PATH": f"/run/fake:{ready.env['PATH']}"}
    for name in ("c", "d"):
        ready.run("podling", "run", "-d", "--name", name, "bb", "sleep", "100", env=env)
    asked, sources = ready.path("/run/fake/asked"), ready.path("/run/fake/sources")
    assert asked.read_text() == "querySource ss trusted 10.88.0.0/16\naddSource ss trusted 10.88.0.0/16\n"
    sources.write_text("", encoding="ascii")                      # firewall-cmd --reload
    ready.run("podling", "network", "reload", "--all", env=env)
    assert sources.read_text() == "10.88.0.0/16\n"
    ready.run("podling", "rm", "-f", "-t", "0", "c", "d", env=env)
    ready.wait_until(lambda: sources.read_text() == "", "the source is removed")
    ready.run("nft", "delete", "table", "inet", "firewalld")
    ready.assert_nothing_left()


def test_no_port_is_published_where_firewalld_forwards_alone(ready: World) -> None:
    ready.run("sh", "-ec", "mkdir -p /run/fake; cat >/run/fake/busctl; chmod 755 /run/fake/busctl; : >/run/fake/sources; "
              "cp -a /etc /run/etc; mkdir -p /run/etc/firewalld; mount --bind /run/etc /etc; nft add table inet firewalld",
              stdin=BUSCTL.encode())
    settings = ready.path("/etc/firewalld/firewalld.conf")
    publish = ("podling", "run", "--rm", "-p", "8081:80", "bb", "true")
    env = {"PATH": f"/run/fake:{ready.env['PATH']}"}
    settings.write_text("# StrictForwardPorts=yes\nDefaultZone=public\nStrictForwardPorts = yes\n", encoding="ascii")
    refused = ready.run(*publish, check=False, env=env)
    assert (refused.returncode, "firewalld StrictForwardPorts enabled" in refused.stderr) == (126, True), refused.stderr
    assert "--add-forward-port" in refused.stderr
    ready.run("podling", "run", "--rm", "bb", "true", env=env)
    settings.write_text("# StrictForwardPorts=yes\nStrictForwardPorts=no\n", encoding="ascii")
    ready.run(*publish, env=env)
    settings.write_text("StrictForwardPorts=yes\n", encoding="ascii")
    ready.run("nft", "delete", "table", "inet", "firewalld")          # it does not run
    ready.run(*publish, env=env)
    ready.run("umount", "/etc")
    ready.assert_nothing_left()


def test_addresses_of_podmans_containers_are_given_to_nobody(ready: World, busybox: Path) -> None:
    """Both engines are on the default network: each has leases of its own."""
    ready.podman("load", "-q", "-i", str(busybox))
    ready.run("podling", "run", "--rm", "bb", "true")
    theirs = [ready.podman("run", "-d", "--name", f"p{number}", "bb", *SERVE).stdout.strip() for number in range(4)]
    used = {ready.podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container).stdout.strip() for container in theirs}
    first = min(int(address.rpartition(".")[2]) for address in used)
    refused = ready.run("podling", "run", "--rm", "--ip", f"10.88.0.{first}", "bb", "true", check=False)
    assert (refused.returncode, "is already used on podman0 by another engine's container" in refused.stderr) == (126, True)
    mark = f"10.88.0.{first - 1 if first > 2 else 254}"
    ready.call(set_mark, mark)
    got = set()
    for name in ("c", "d"):
        ready.run("podling", "run", "-d", "--name", name, "bb", "sleep", "100")
        got.add(ready.run("podling", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).stdout.strip())
    assert len(got) == 2
    assert not got & used
    ready.run("podling", "rm", "-f", "-t", "0", "c", "d")
    ready.podman("rm", "-f", "-t", "0", *theirs)
    ready.assert_nothing_left(ignore=lambda kind, thing: "NETAVARK" in thing or thing.endswith("/storage/overlay"))     # Podman's own


def set_mark(address: str) -> None:
    """The address after this one is the next to be given."""
    database = Database("/var/lib/containers/podling/podling.db")
    database.run("INSERT OR REPLACE INTO lease_marks (network, subnet, address) VALUES ('podman', '10.88.0.0/16', ?)", address)
    database.close()
