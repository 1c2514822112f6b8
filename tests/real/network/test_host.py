"""``host.containers.internal`` and ``host.docker.internal`` lead to a server of this host, in every mode."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.users import User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

NAMES = ("host.containers.internal", "host.docker.internal")


@pytest.fixture(scope="module")
def user(shared_world: World, busybox: Path) -> Iterator[User]:
    """Root and an ordinary user have the image; a server listens at every address of the host."""
    made = User(shared_world)
    made.load(busybox)
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    made.podling("network", "create", "n1")
    shared_world.run("podling", "network", "create", "n1")
    shared_world.run("podling", "network", "create", "--internal", "inner")
    server = shared_world.spawn("busybox", "httpd", "-f", "-p", "8070", "-h", "/etc", stdout=subprocess.DEVNULL)
    yield made
    server.kill()
    server.wait()


FETCH = ("sh", "-c", "for name; do timeout 5 wget -qO- http://$name:8070/passwd | grep ^root: || exit 1; done", "sh", *NAMES)


@pytest.mark.parametrize("network", ["bridge", "n1", "inner", "slirp4netns", "host"])
def test_as_root(user: User, network: str) -> None:
    user.world.run("podling", "run", "--rm", "--network", network, "bb", *FETCH)


@pytest.mark.parametrize("network", ["bridge", "n1", "slirp4netns", "pasta", "host"])
def test_as_an_ordinary_user(user: User, network: str) -> None:
    user.podling("run", "--rm", "--network", network, "bb", *FETCH)


def test_in_the_network_of_another_container(user: User) -> None:
    user.podling("run", "-d", "--name", "c", "--network", "n1", "bb", "sleep", "1000")
    user.podling("run", "--rm", "--network", "container:c", "bb", *FETCH)
    user.podling("rm", "-f", "-t", "0", "c")
