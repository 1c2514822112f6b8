"""``podling network``: definitions beside Podman's, containers that join and leave, and what is refused with which exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World


def test_podman_and_podling_see_the_same_networks(world: World) -> None:
    world.run("podling", "network", "create", "--ipv6", "--label", "k=v", "ours")
    world.run("podling", "network", "create", "-d", "macvlan", "--subnet", "10.77.0.0/24", "wire")     # no parent: netavark's choice
    world.podman("network", "create", "theirs")
    for command in ("ours", "wire", "theirs"):
        seen = [json.loads(run("network", "inspect", command).stdout)[0] for run in (world.podman, lambda *a: world.run("podling", *a))]
        seen[1].pop("containers")
        assert seen[0] == seen[1]
    assert world.run("podling", "network", "rm", "theirs").stdout == "theirs\n"
    assert "theirs" not in world.podman("network", "ls", "-q").stdout


def test_concurrent_creates_never_clash(world: World) -> None:
    running = [world.spawn("podling", "network", "create") for _ in range(8)]
    assert [child.wait() for child in running] == [0] * 8
    names = world.run("podling", "network", "ls", "-q", "--filter", "name=podman[0-9]").stdout.split()
    shapes = json.loads(world.run("podling", "network", "inspect", *names).stdout)
    assert len({shape["subnets"][0]["subnet"] for shape in shapes}) == len({shape["network_interface"] for shape in shapes}) == 8


def test_stopped_containers_join_and_leave(world: World, busybox: Path) -> None:
    world.run("podling", "load", "-q", "-i", str(busybox))
    for name in ("one", "two"):
        world.run("podling", "network", "create", name)
    world.run("podling", "create", "--name", "c", "--network", "one", "bb", "true")
    world.run("podling", "network", "connect", "--alias", "x", "two", "c")
    assert world.run("podling", "ps", "-a", "--filter", "network=two", "--format", "{{.Networks}}").stdout == "one,two\n"
    used = world.run("podling", "network", "rm", "two", check=False)
    assert (used.returncode, world.run("podling", "network", "rm", "nope", check=False).returncode) == (2, 1)
    world.run("podling", "network", "disconnect", "one", "c")
    assert world.run("podling", "network", "prune", "-f").stdout == "one\n"
    assert world.run("podling", "network", "rm", "-f", "-t", "0", "two").stdout == "two\n"
    assert world.run("podling", "ps", "-aq").stdout == ""
