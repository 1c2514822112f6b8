"""The mode pasta with the real program, as an ordinary user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.users import RUNTIME_DIRECTORY, User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir /w; echo hello >/w/index.html; exec httpd -f -v -p 80 -h /w 2>&1")


@pytest.fixture(scope="module")
def user(shared_world: World, busybox: Path) -> User:
    made = User(shared_world)
    made.load(busybox)
    return made


def get(user: User, address: str) -> str:
    return user.run("curl", "-sg", "--max-time", "5", f"http://{address}/", check=False).stdout


def pastas(user: User) -> list[str]:
    """The world's pids: pasta is in a process namespace of its own, below the world's."""
    return user.world.run("pgrep", "-f", "^[^ ]*pasta --config-net", check=False).stdout.split()


def test_the_container_has_the_hosts_address(user: User) -> None:
    user.world.run("ip", "addr", "add", "198.51.100.3/24", "dev", "uplink0")
    user.podling("run", "-d", "--name", "p", "--network", "pasta", "-p", "8081:80", "-p", "8082-8083:82-83/udp", "bb", *SERVE)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8081") == "hello\n", "the server")
    assert get(user, "198.51.100.2:8081") == "hello\n"
    assert "inet 198.51.100.2/24" in user.podling("exec", "p", "ip", "-4", "addr")
    assert "nameserver 169.254.1.1\n" in user.podling("exec", "p", "cat", "/etc/resolv.conf")
    assert "198.51.100.3\thost.containers.internal host.docker.internal" in user.podling("exec", "p", "cat", "/etc/hosts")
    assert user.podling("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "p") == "\n"
    assert len(pastas(user)) == 1
    user.podling("stop", "-t", "0", "p")
    user.world.wait_until(lambda: not pastas(user), "pasta ends with its container")
    user.podling("rm", "p")
    user.world.run("ip", "addr", "delete", "198.51.100.3/24", "dev", "uplink0")
    user.assert_nothing_left()
    assert os.listdir(user.world.path(f"{RUNTIME_DIRECTORY}/containers/podling/networks")) == ["pasta.json"]


def test_the_host_is_reached(user: User) -> None:
    server = user.spawn("busybox", "httpd", "-f", "-p", "198.51.100.2:8070", "-h", "/etc")
    for name in ("host.containers.internal", "host.docker.internal"):
        assert "root:" in user.podling("run", "--rm", "--network", "pasta", "bb", "wget", "-qO-", f"http://{name}:8070/passwd")
    server.kill()
    server.wait()


def test_options_are_passed_through(user: User) -> None:
    own = user.podling("run", "--rm", "--network", "pasta:-I,eth7,-a,10.9.8.7,-n,24,-g,10.9.8.1", "bb", "sh", "-c",
                       "ip -4 addr; ip route; cat /etc/hosts")
    assert "eth7" in own
    assert "10.9.8.7/24" in own
    assert "default via 10.9.8.1" in own
    assert "198.51.100.2\thost.containers.internal host.docker.internal" in own
    assert "pasta failed with exit code" in user.podling("run", "--rm", "--network", "pasta:--nonsense", "bb", "true", status=126)
    user.assert_nothing_left()


def test_the_default_where_containers_conf_says_so(user: User) -> None:
    conf = user.world.path("/etc/containers/pasta.conf")
    conf.write_text('[network]\ndefault_rootless_network_cmd = "pasta"\n', encoding="ascii")
    env = {"CONTAINERS_CONF_OVERRIDE": "/etc/containers/pasta.conf"}
    assert user.podling("run", "--rm", "bb", "ip", "-4", "-o", "addr", "show", "uplink0", env=env).split()[3].endswith("/24")
    user.assert_nothing_left()


def test_killed_it_heals_by_a_restart(user: User) -> None:
    user.podling("run", "-d", "--name", "p", "--network", "pasta", "-p", "8081:80", "bb", *SERVE)
    user.world.run("kill", "-9", *pastas(user))
    user.world.wait_until(lambda: get(user, "127.0.0.1:8081") == "", "nobody forwards")
    user.podling("restart", "-t", "0", "p")
    user.world.wait_until(lambda: get(user, "127.0.0.1:8081") == "hello\n", "the server")
    user.podling("rm", "-f", "-t", "0", "p")
    user.assert_nothing_left()


def test_root_is_refused(user: User, busybox: Path) -> None:
    user.world.run("podling", "load", "-q", "-i", str(busybox))
    done = user.world.run("podling", "run", "--rm", "--network", "pasta", "bb", "true", check=False)
    assert done.returncode == 126
    assert "pasta networking is only supported for rootless mode" in done.stderr
