"""Whatever of an ordinary user's networks is killed: it heals, and nothing is left."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.users import User

SERVE = ("sh", "-c", "mkdir -p /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w")
HOST = "198.51.100.2:8071"


@pytest.fixture(scope="module", autouse=True)
def outside(user: User) -> Iterator[None]:
    """A web server of the host."""
    user.podling("network", "create", "n1")
    server = user.world.spawn("busybox", "httpd", "-f", "-p", HOST, "-h", "/etc")
    user.world.before = user.world.observe()
    yield
    server.kill()
    server.wait()


def served(user: User) -> bool:
    return user.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:8080/", check=False).stdout == "hello\n"


def reaches_host(user: User, container: str) -> bool:
    done = user.run("podling", "exec", container, "timeout", "2", "wget", "-qO-", f"http://{HOST}/passwd", check=False)
    return "root:" in done.stdout


def kill(user: User, pattern: str) -> None:
    user.world.run("pkill", "-9", "-f", pattern)
    user.world.wait_until(lambda: user.world.run("pgrep", "-f", pattern, check=False).returncode, f"{pattern} ends")


def assert_nothing_left(user: User) -> None:
    user.assert_nothing_left()
    user.assert_no_network_left()


@pytest.mark.parametrize(("program", "pattern"), [("slirp4netns", "^[^ ]*slirp4netns --"), ("pasta", "^[^ ]*pasta --config-net")])
def test_what_joins_the_namespace_to_the_host(user: User, program: str, pattern: str) -> None:
    user.world.path("/etc/containers/joint.conf").write_text(f'[network]\ndefault_rootless_network_cmd = "{program}"\n', encoding="ascii")
    env = {"CONTAINERS_CONF_OVERRIDE": "/etc/containers/joint.conf"}
    for name in ("c", "d"):
        user.podling("run", "-d", "--name", name, "--network", "n1", *(("-p", "8080:80") if name == "c" else ()), "bb", *SERVE, env=env)
    assert reaches_host(user, "c")
    kill(user, pattern)
    assert not reaches_host(user, "c")
    assert user.podling("exec", "d", "wget", "-qO-", "http://c/") == "hello\n"       # they still reach each other
    user.podling("network", "reload", "c", env=env)
    assert reaches_host(user, "c")
    assert served(user)
    kill(user, pattern)
    user.podling("run", "--rm", "--network", "n1", "bb", "true", env=env)           # the next start heals it too
    assert reaches_host(user, "d")
    kill(user, pattern)
    user.podling("rm", "-f", "-t", "0", "c", "d", env=env)
    assert_nothing_left(user)


def test_a_killed_conmon(user: User) -> None:
    user.podling("run", "-d", "--name", "c", "--network", "n1", "-p", "8080:80", "bb", *SERVE)
    user.world.wait_until(lambda: served(user), "the server")
    kill(user, "^[^ ]*conmon")
    user.podling("restart", "-t", "0", "c")
    user.world.wait_until(lambda: served(user), "the server again")
    kill(user, "^[^ ]*conmon")
    user.podling("rm", "-f", "-t", "0", "c")
    assert_nothing_left(user)


def test_a_killed_holder(user: User) -> None:
    user.podling("run", "-d", "--name", "c", "--network", "n1", "-p", "8080:80", "bb", *SERVE)
    for pid in user.holders():
        os.kill(pid, signal.SIGKILL)
    user.world.wait_until(lambda: served(user), "the server goes on")
    assert user.podling("run", "--rm", "--network", "n1", "bb", "wget", "-qO-", "http://c/") == "hello\n"
    user.podling("restart", "-t", "0", "c")
    user.world.wait_until(lambda: served(user), "the server again")
    user.podling("rm", "-f", "-t", "0", "c")
    assert_nothing_left(user)


@pytest.mark.parametrize("network", ["n1", "slirp4netns", "pasta"])
def test_commands_killed_at_any_instant(user: User, network: str) -> None:
    for number in range(8):
        started = user.spawn("podling", "run", "-d", "--name", "c", "--network", network, "-p", "8090:80", "bb", "sleep", "100")
        time.sleep(0.03 + number * 0.015)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        ending = user.spawn("podling", "rm", "-f", "-t", "0", "--ignore", "c")
        time.sleep(0.03 + number * 0.01)
        os.kill(ending.pid, signal.SIGKILL)
        ending.wait()
        user.podling("rm", "-f", "-t", "0", "--ignore", "c")
    user.podling("system", "prune", "--external")        # a lock's file that a killed removal left
    assert_nothing_left(user)
