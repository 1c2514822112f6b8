"""Addresses of containers: as many as start at once, each another; static ones reserved."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from podling.database import Database
from podling.model import Network, Subnet
from podling.network.leases import Leases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

NETWORK = Network(name="n", id="1", subnets=(Subnet(subnet="10.5.0.0/24", gateway="10.5.0.1"),))


def test_250_processes_at_once_get_250_addresses(tmp_path: Path) -> None:
    path = str(tmp_path / "podling.db")
    database = Database(path)
    with database.transaction():
        for number in range(251):
            database.run("INSERT INTO containers (id, name, created, summary, config) VALUES (?, ?, 0, '', '')", f"c{number}", f"c{number}")
        database.run("INSERT INTO static_addresses (network, address, container_id) VALUES ('n', '10.5.0.7', 'c250')")
    database.close()
    children = []
    for number in range(250):
        child = os.fork()
        if child == 0:
            try:
                Leases(Database(path)).take(NETWORK, f"c{number}")
            except BaseException:  # noqa: BLE001  a forked test must not go on
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    found = {row[0] for row in Database(path).rows("SELECT address FROM leases WHERE network = 'n'")}
    assert len(found) == 250
    assert not found & {"10.5.0.1", "10.5.0.7"}


def address(world: World, container: str) -> str:
    return world.run("podling", "inspect", "--format", "{{.NetworkSettings.Networks.n.IPAddress}}", container).stdout.strip()


def test_containers_that_start_at_once(world: World, busybox: Path) -> None:
    world.run("podling", "load", "-q", "-i", str(busybox))
    world.run("podling", "network", "create", "--subnet", "10.73.0.0/27", "n")
    world.run("podling", "create", "--name", "kept", "--network", "n", "--ip", "10.73.0.5", "bb", "sleep", "1000")
    running = [world.spawn("podling", "run", "-d", "--name", f"c{number}", "--network", "n", "bb", "sleep", "1000",
                           stdout=subprocess.DEVNULL) for number in range(20)]
    assert [child.wait() for child in running] == [0] * 20
    found = {address(world, f"c{number}") for number in range(20)}
    assert len(found) == 20
    assert "10.73.0.5" not in found
    world.run("podling", "start", "kept")
    assert address(world, "kept") == "10.73.0.5"
    world.run("podling", "rm", "-af", "-t", "0")
    world.assert_nothing_left(timeout=10)


def test_a_static_address_is_one_containers_at_a_time(world: World, busybox: Path) -> None:
    world.run("podling", "load", "-q", "-i", str(busybox))
    world.run("podling", "network", "create", "--subnet", "10.73.0.0/29", "n")
    for name in ("blue", "green"):
        world.run("podling", "create", "--name", name, "--network", "n", "--ip", "10.73.0.2", "bb", "sleep", "1000")
    world.run("podling", "start", "blue")
    refused = world.run("podling", "start", "green", check=False)
    assert (refused.returncode, "requested ip address 10.73.0.2 is already allocated to container ID" in refused.stderr) == (125, True)
    world.run("podling", "stop", "-t", "0", "blue")
    world.run("podling", "start", "green")
    assert address(world, "green") == "10.73.0.2"
    got = [world.run("podling", "run", "--rm", "--network", "n", "bb", "ip", "-o", "-4", "addr", "show", "eth0").stdout for _ in range(6)]
    assert not [text for text in got if "10.73.0.2/" in text]
    world.run("podling", "network", "disconnect", "n", "green")
    world.run("podling", "rm", "-f", "-t", "0", "blue")
    got = [world.run("podling", "run", "--rm", "--network", "n", "bb", "ip", "-o", "-4", "addr", "show", "eth0").stdout for _ in range(6)]
    assert [text for text in got if "10.73.0.2/" in text]            # nobody's any more
    world.run("podling", "rm", "-af", "-t", "0")
    world.assert_nothing_left()
