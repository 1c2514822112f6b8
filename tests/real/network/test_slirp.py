"""The mode slirp4netns with the real program: names, ports by both handlers, clients' addresses, options, and what is killed heals."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir /w; echo hello >/w/index.html; exec httpd -f -v -p 80 -h /w 2>&1")
OUTSIDE = ("ip", "netns", "exec", "outside")


@pytest.fixture(scope="module")
def slirp_world(shared_world: World, busybox: Path) -> World:
    """A world with the image bb whose uplink leads to a host of its own, 198.51.100.1."""
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("sh", "-ec", """
        ip netns add outside; ip link set uplink1 netns outside; ip -n outside addr add 198.51.100.1/24 dev uplink1
        ip -n outside link set uplink1 up; ip -n outside link set lo up""")
    shared_world.before = shared_world.observe()
    return shared_world


def podling(world: World, *argv: str, status: int = 0) -> str:
    done = world.run("podling", *argv, check=False)
    assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if status == 0 else done.stdout + done.stderr


def get(world: World, address: str, *before: str) -> str:
    return world.run(*before, "curl", "-sg", "--max-time", "5", f"http://{address}/", check=False).stdout


def processes(world: World, word: str) -> list[int]:
    found = []
    for pid in world.processes():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if word in file.read().decode(errors="replace").replace("\0", " "):
                    found.append(pid)
        except OSError:
            continue
    return found


def test_ports_and_clients_addresses(slirp_world: World) -> None:
    world = slirp_world
    podling(world, "run", "-d", "--name", "w", "-p", "8080:80", "--network", "slirp4netns", "bb", *SERVE)
    world.wait_until(lambda: get(world, "127.0.0.1:8080") == "hello\n", "the server")
    assert get(world, "[::1]:8080") == "hello\n"
    assert get(world, "198.51.100.2:8080", *OUTSIDE) == "hello\n"
    seen = world.wait_until(lambda: lines if len(lines := podling(world, "logs", "w").splitlines()) >= 3 else [], "the log")
    assert "10.0.2.100" in seen[-3]                         # a client on the host's loopback is never told as the container's own
    assert "198.51.100.1" in seen[-1]
    settings = json.loads(podling(world, "inspect", "w"))[0]["NetworkSettings"]
    assert settings["IPAddress"] == ""
    assert settings["Networks"]["slirp4netns"]["IPAddress"] == ""
    assert settings["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "8080"}]
    assert "address already in use" in podling(world, "run", "--rm", "-p", "8080:80", "--network", "slirp4netns", "bb", "true", status=126)
    podling(world, "rm", "-f", "-t", "0", "w")
    world.assert_nothing_left()
    assert not [name for name in os.listdir(world.path("/run/containers/podling/networks")) if name != "lock"]


def test_etc_and_the_host(slirp_world: World) -> None:
    world = slirp_world
    server = world.spawn("busybox", "httpd", "-f", "-p", "198.51.100.2:8070", "-h", "/etc")
    run = ("run", "--rm", "--network")
    assert "nameserver 10.0.2.3\n" in podling(world, *run, "slirp4netns", "bb", "cat", "/etc/resolv.conf")
    for name in ("host.containers.internal", "host.docker.internal"):
        assert "root:" in podling(world, *run, "slirp4netns", "bb", "wget", "-qO-", f"http://{name}:8070/passwd")
    own = podling(world, *run, "slirp4netns:cidr=10.77.0.0/24,mtu=1400", "bb", "sh", "-c", "ip addr show tap0; cat /etc/resolv.conf")
    assert "inet 10.77.0.100/24" in own
    assert "mtu 1400" in own
    assert "nameserver 10.77.0.3\n" in own
    server.kill()
    server.wait()
    world.assert_nothing_left()


def test_host_loopback_only_where_allowed(slirp_world: World) -> None:
    world = slirp_world
    server = world.spawn("busybox", "httpd", "-f", "-p", "127.0.0.1:8071", "-h", "/etc")
    fetch = ("bb", "wget", "-qO-", "http://10.0.2.2:8071/passwd")
    assert "root:" in podling(world, "run", "--rm", "--network", "slirp4netns:allow_host_loopback=true", *fetch)
    assert "root:" not in podling(world, "run", "--rm", "--network", "slirp4netns", *fetch, status=1)
    server.kill()
    server.wait()


def test_ports_by_slirp_itself(slirp_world: World) -> None:
    world = slirp_world
    podling(world, "run", "-d", "--name", "w", "-p", "8080-8081:80-81", "--network", "slirp4netns:port_handler=slirp4netns", "bb", *SERVE)
    world.wait_until(lambda: get(world, "127.0.0.1:8080") == "hello\n", "the server")
    assert not processes(world, "forwarder")
    assert "address already in use" in podling(
        world, "run", "--rm", "-p", "8080:80", "--network", "slirp4netns:port_handler=slirp4netns", "bb", "true", status=126)
    podling(world, "rm", "-f", "-t", "0", "w")
    world.assert_nothing_left()


@pytest.mark.parametrize(("option", "words"), [
    ("foo=bar", 'unknown option for slirp4netns: "foo=bar"'), ("mtu", 'unknown option for slirp4netns: "mtu"'),
    ("mtu=67", 'invalid mtu "67"'), ("cidr=10.0.0.0", 'invalid cidr "10.0.0.0"'), ("cidr=fd00::/64", 'invalid cidr "fd00::/64"'),
    ("port_handler=x", 'unknown port_handler for slirp4netns: "x"'), ("outbound_addr=nodev", 'invalid outbound_addr "nodev"'),
    ("allow_host_loopback=yes", 'invalid value of allow_host_loopback for slirp4netns: "yes"'),
    ("enable_ipv6=1", 'invalid value of enable_ipv6 for slirp4netns: "1"'),
])
def test_wrong_options_are_refused(slirp_world: World, option: str, words: str) -> None:
    assert words in podling(slirp_world, "run", "--rm", "--network", f"slirp4netns:{option}", "bb", "true", status=126)


def test_what_is_killed_heals_and_ends_with_the_container(slirp_world: World) -> None:
    world = slirp_world
    podling(world, "run", "-d", "--name", "w", "-p", "8080:80", "--network", "slirp4netns", "bb", *SERVE)
    world.wait_until(lambda: get(world, "127.0.0.1:8080") == "hello\n", "the server")
    for pid in processes(world, "slirp4netns --") + processes(world, "forwarder"):
        os.kill(pid, signal.SIGKILL)
    world.wait_until(lambda: not processes(world, "forwarder"), "they end")
    assert get(world, "127.0.0.1:8080") == ""
    podling(world, "restart", "-t", "0", "w")
    world.wait_until(lambda: get(world, "127.0.0.1:8080") == "hello\n", "the server again")
    for pid in processes(world, "conmon --api"):
        os.kill(pid, signal.SIGKILL)
    world.wait_until(lambda: not processes(world, "forwarder") and not processes(world, "slirp4netns --"), "they end with conmon")
    podling(world, "rm", "-f", "-t", "0", "w")
    world.assert_nothing_left()
