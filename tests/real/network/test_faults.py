"""Whatever is killed: everything heals or says what to do, and nothing is left."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir -p /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w")
OVERRIDE = "/etc/containers/override.conf"
HELPERS = "/run/helpers"
# netavark that is killed so many milliseconds after it was started to set up: 0 for not at all. What it runs then (iptables) goes on.
NETAVARK = """#!/bin/sh
exec 3<&0
after=$(cat /run/helpers/after)
case "$*" in *" setup "*) ;; *) after=0 ;; esac
[ $after != 0 ] || exec /usr/lib/podman/netavark "$@"
/usr/lib/podman/netavark "$@" <&3 &
sleep 0.0$after
netavark=$!
(sleep 0.3; echo >/run/helpers/late) >/dev/null 2>&1 &
kill -9 $netavark 2>/dev/null
kill -9 $$
"""


@pytest.fixture
def ready(shared_world: World, busybox: Path) -> Iterator[World]:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("podling", "network", "create", "--ignore", "--subnet", "10.77.0.0/24", "named")
    yield shared_world
    shared_world.run("podling", "rm", "-af", "-t", "0", check=False)


def served(world: World, url: str) -> bool:
    got = world.run("curl", "-sm", "2", "--retry", "4", "--retry-connrefused", url, check=False).stdout
    return got == "served\n"


def assert_all_gone(world: World) -> None:
    world.assert_nothing_left()
    world.wait_until(lambda: world.run("nft", "list", "table", "inet", "podling", check=False).returncode, "the table goes")
    networks = world.path("/run/containers/podling/networks")
    assert [path.name for path in networks.iterdir() if not path.name.endswith("lock")
            and not (path.is_dir() and not list(path.iterdir()))] == []


def test_netavark_killed_half_way(ready: World) -> None:
    """The start fails in its words, the next one works, and nothing of either is left."""
    ready.run("sh", "-ec", f"mkdir -p {HELPERS}; ln -sf /usr/lib/podman/aardvark-dns {HELPERS}/; cat >{HELPERS}/netavark; "
              f"chmod 755 {HELPERS}/netavark", stdin=NETAVARK.encode())
    ready.path(OVERRIDE).write_text(f'[engine]\nhelper_binaries_dir = ["{HELPERS}"]\n[network]\nnetwork_backend = "netavark"\n',
                                    encoding="ascii")
    env = {"CONTAINERS_CONF_OVERRIDE": OVERRIDE}
    words = ("run", "-d", "--name", "c", "--network", "named", "-p", "8080:80", "bb", *SERVE)
    for after in ("10", "30", "50", "80"):
        ready.path(f"{HELPERS}/after").write_text(after, encoding="ascii")
        failed = ready.run("podling", *words, check=False, env=env)
        assert (failed.returncode, "Error: netavark: signal: 9" in failed.stderr) == (126, True), failed.stderr
        assert ready.path(f"{HELPERS}/late").exists()            # nothing that it had started goes on
        ready.path(f"{HELPERS}/late").unlink()
        ready.path(f"{HELPERS}/after").write_text("0", encoding="ascii")
        ready.run("podling", "start", "c", env=env)
        assert served(ready, "http://127.0.0.1:8080/")
        ready.run("podling", "rm", "-f", "-t", "0", "c", env=env)
        ready.assert_nothing_left()
    ready.run("sh", "-c", "iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X", check=False)


def test_set_ups_with_names_killed_at_any_instant(ready: World) -> None:
    for number in range(10):
        started = ready.spawn("podling", "run", "--name", f"k{number}", "--network", "named", "-p", "8090:80", "bb", "sleep", "100")
        time.sleep(0.02 + number * 0.012)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        ready.run("podling", "rm", "-f", "-t", "0", f"k{number}", check=False)
    assert_all_gone(ready)


@pytest.mark.parametrize("network", ["named", "podman"])
def test_connecting_and_disconnecting_killed_at_any_instant(ready: World, network: str) -> None:
    ready.run("podling", "network", "create", "--ignore", "--disable-dns", "first")
    ready.run("podling", "run", "-d", "--name", "c", "--network", "first", "bb", "sleep", "1000")
    for number in range(12):
        word = "connect" if number % 2 == 0 else "disconnect"
        started = ready.spawn("podling", "network", word, network, "c")
        time.sleep(0.015 + number * 0.004)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        ready.run("podling", "network", word, network, "c", check=False)
    ready.run("podling", "network", "disconnect", network, "c", check=False)
    assert "eth1" not in ready.run("podling", "exec", "c", "cat", "/proc/net/dev").stdout
    ready.run("podling", "network", "connect", network, "c")
    assert "eth1" in ready.run("podling", "exec", "c", "cat", "/proc/net/dev").stdout
    ready.run("podling", "restart", "-t", "0", "c")
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    assert_all_gone(ready)


def test_removals_killed_at_any_instant(ready: World) -> None:
    for number in range(10):
        ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "-p", "8080:80", "bb", "sleep", "100")
        ending = ready.spawn("podling", "rm", "-f", "-t", "0", "c")
        time.sleep(0.02 + number * 0.008)
        os.kill(ending.pid, signal.SIGKILL)
        ending.wait()
        ready.run("podling", "rm", "-f", "-t", "0", "--ignore", "c")
    assert_all_gone(ready)


def test_a_killed_conmon(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "-p", "8080:80", "bb", *SERVE)
    assert served(ready, "http://127.0.0.1:8080/")
    ready.run("pkill", "-9", "conmon")
    ready.run("podling", "restart", "-t", "0", "c")
    assert served(ready, "http://127.0.0.1:8080/")
    ready.run("pkill", "-9", "conmon")
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    assert_all_gone(ready)


def test_a_bridge_that_somebody_deleted(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "-p", "8080:80", "bb", *SERVE)
    bridge = ready.run("podling", "network", "inspect", "--format", "{{.NetworkInterface}}", "named").stdout.strip()
    ready.run("ip", "link", "delete", bridge)
    ready.run("podling", "restart", "-t", "0", "c")
    assert served(ready, "http://127.0.0.1:8080/")
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    assert_all_gone(ready)


def test_killed_sweepers_are_made_up_for(ready: World) -> None:
    """What the last container on a bridge leaves to a process in the background is found by the next that ends."""
    for _ in range(3):
        ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "bb", "sleep", "100")
        ready.run("podling", "rm", "-f", "-t", "0", "c")
        ready.run("pkill", "-9", "-f", "podling.* rm -f", check=False)
    ready.run("podling", "run", "--rm", "bb", "true")                         # on another network
    assert_all_gone(ready)


def test_a_pid_file_that_a_killed_sweeper_left(ready: World) -> None:
    """The name server was killed, and its sweeper before it took the pid file away."""
    directory = ready.path("/run/containers/podling/networks/aardvark-dns")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "aardvark.pid").write_text("4194303", encoding="ascii")
    ready.run("podling", "run", "--rm", "bb", "true")
    assert_all_gone(ready)
