"""kill -9 at random instants: what is listed afterwards works, and after ``rm -af`` nothing is left."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

INSTANTS = int(os.environ.get("KILL_INSTANTS", "40"))     # for each of six commands: more than 200 in all


def kill_at_random(world: World, seed: random.Random, longest: float, *argv: str) -> None:
    """Start a command and kill it, and everything it started itself, within ``longest`` seconds."""
    process = world.spawn(*argv, start_new_session=True, stdout=-3, stderr=-3)
    time.sleep(seed.uniform(0.0, longest))
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass                                               # it was quicker
    process.wait()


def duration(world: World, *argv: str) -> float:
    """How long the command takes when nobody kills it."""
    begin = time.monotonic()
    world.run(*argv)
    return time.monotonic() - begin


def everything_listed_works(world: World) -> None:
    """Every listed image runs, every listed container can be started or removed."""
    for image in set(world.run("podling", "images", "-q", "--no-trunc").stdout.split()):
        world.run("podling", "run", "--rm", "--network", "none", image, "true")
    for container in world.run("podling", "ps", "-aq", "--no-trunc").stdout.split():
        world.run("podling", "start", container)
    world.run("podling", "rm", "-af", "-t", "0")


@pytest.fixture
def image(world: World, busybox: Path) -> str:
    world.run("podling", "load", "-q", "-i", str(busybox))
    return "localhost/bb:latest"


def test_run_killed(world: World, image: str) -> None:
    seed = random.Random(1)
    argv = ("podling", "run", "-d", "-p", "8080:80", image, "sleep", "100")
    longest = duration(world, *argv)
    world.run("podling", "rm", "-af", "-t", "0")
    for _ in range(INSTANTS):
        kill_at_random(world, seed, longest, *argv)
        everything_listed_works(world)
    world.assert_nothing_left()


def test_attended_run_killed(world: World, image: str) -> None:
    seed = random.Random(2)
    argv = ("podling", "run", "--rm", image, "sleep", "0.1")
    longest = duration(world, *argv)
    for _ in range(INSTANTS):
        kill_at_random(world, seed, longest, *argv)
    world.wait_until(lambda: not world.run("podling", "ps", "-q").stdout, "the containers end", timeout=20)
    everything_listed_works(world)
    world.assert_nothing_left()


def test_rm_killed(world: World, image: str) -> None:
    seed = random.Random(3)
    world.run("podling", "run", "-d", "--name", "c", image, "sleep", "100")
    longest = duration(world, "podling", "rm", "-f", "-t", "0", "c")
    for _ in range(INSTANTS):
        world.run("podling", "run", "-d", "--replace", "--name", "c", image, "sleep", "100")
        kill_at_random(world, seed, longest, "podling", "rm", "-f", "-t", "0", "c")
        everything_listed_works(world)
    world.assert_nothing_left()


def test_load_and_rmi_killed(world: World, image: str, busybox: Path) -> None:
    seed = random.Random(4)
    load = ("podling", "load", "-q", "-i", str(busybox))
    remove = ("podling", "rmi", "-f", image)
    removing = duration(world, *remove)
    loading = duration(world, *load)
    for _ in range(INSTANTS):
        kill_at_random(world, seed, removing, *remove)
        everything_listed_works(world)
        kill_at_random(world, seed, loading, *load)
        everything_listed_works(world)
        world.run(*load)
    world.run("podling", "rmi", "-af")
    world.assert_nothing_left()
    assert not list(world.path("/var/lib/containers/podling/layers").iterdir())


def test_pull_killed(world: World, busybox: Path) -> None:
    world.path("/run/registry.yml").write_text(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n", encoding="ascii")
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stdout=-3, stderr=-3)
    name, seed = "127.0.0.1:5000/bb:1", random.Random(5)
    put = ("skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{busybox}", f"docker://{name}")
    world.wait_until(lambda: world.run(*put, check=False).returncode == 0, "the registry answers")
    pull = ("podling", "pull", "-q", "--tls-verify=false", name)
    longest = duration(world, *pull)
    for _ in range(INSTANTS):
        world.run("podling", "rmi", "-af")
        kill_at_random(world, seed, longest, *pull)
        everything_listed_works(world)
    world.run(*pull)
    world.run("podling", "rmi", "-af")
    server.kill()
    server.wait()
    world.run("rm", "-r", "/run/registry")
    world.assert_nothing_left()
    assert not list(world.path("/var/lib/containers/podling/layers").iterdir())


def test_a_runtime_killed_while_it_protects_itself(world: World, image: str) -> None:
    """crun and runc execute a bind mount of themselves, which a kill in that instant leaves behind."""
    name = world.run("podling", "run", "-d", "--network", "none", image, "sleep", "100").stdout.strip()
    left = f"/run/containers/podling/containers/{name}/crun.aBcDeF"
    world.run("sh", "-ec", f"touch {left}; mount --bind /bin/true {left}")
    world.run("podling", "rm", "-f", "-t", "0", name)
    world.assert_nothing_left()


def test_what_a_killed_removal_left_is_collected(world: World, image: str) -> None:
    name = "0123456789abcdef" * 4
    world.run("sh", "-ec", f"mkdir -p /run/containers/podling/containers/{name}/shm /run/containers/podling/locks;"
                           f"touch /run/containers/podling/locks/container-{name};"
                           f"mount -t tmpfs tmpfs /run/containers/podling/containers/{name}/shm")
    world.run("podling", "rm", "-af")
    world.assert_nothing_left()
