"""``system check`` finds and mends damaged layers; images in Podman's store are read where they are."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.sandbox import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
NAME = f"{HOST}/bb:1"
CONFIG = "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n"
GRAPH = "/var/lib/containers/podling"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a registry that has busybox, which podling has pulled from there."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world = new_world()
    world.path("/run/registry.yml").write_text(CONFIG)
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    archive = str(busybox_archive(tmp_path_factory.mktemp("check")))
    put = ("skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{NAME}")
    world.wait_until(lambda: world.run(*put, check=False).returncode == 0, "the registry answers")
    world.podman("load", "-q", "-i", archive)
    world.run("podling", "pull", "-q", "--tls-verify=false", NAME)
    yield world
    server.kill()
    server.wait()
    world.close()


def layer(world: World) -> str:
    shape = json.loads(world.run("podling", "image", "inspect", NAME).stdout)[0]
    return f"{GRAPH}/layers/{shape['RootFS']['Layers'][0].removeprefix('sha256:')}"


def flip(world: World, path: str) -> None:
    content = bytearray(world.path(path).read_bytes())
    content[len(content) // 2] ^= 1
    world.path(path).write_bytes(content)


DAMAGE = {
    "a flipped byte": lambda world, place: flip(world, f"{place}/diff/bin/busybox"),
    "a missing file": lambda world, place: world.path(f"{place}/diff/etc/passwd").unlink(),
    "a missing tar-split": lambda world, place: world.path(f"{place}/tar-split").unlink(),
    "a missing layer": lambda world, place: shutil.rmtree(world.path(place)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_layer_is_found_and_mended_from_its_registry(machine: World, kind: str) -> None:
    assert machine.run("podling", "system", "check").stdout == ""
    place = layer(machine)
    DAMAGE[kind](machine, place)
    found = machine.run("podling", "system", "check", check=False)
    assert found.returncode == 125
    assert "Damaged layer sha256:" in found.stdout
    assert f"in image {NAME}" in found.stdout
    assert "Error: damage detected in local storage" in found.stderr
    quick = machine.run("podling", "system", "check", "--quick", check=False).returncode
    assert quick == (125 if kind in ("a missing tar-split", "a missing layer") else 0)
    assert "mended from its registry" in machine.run("podling", "system", "check", "--repair", "--tls-verify=false").stdout
    assert machine.run("podling", "system", "check").stdout == ""
    assert machine.run("podling", "run", "--rm", "--network", "none", NAME, "cat", "/etc/passwd").stdout.startswith("root:")
    assert not [name for name in machine.path(f"{GRAPH}/layers").iterdir() if name.name.startswith(".tmp")]


def test_what_came_from_nowhere_is_removed_only_by_force(machine: World) -> None:
    machine.run("podling", "create", "--name", "made", "--network", "none", NAME, "true")
    machine.run("podling", "cp", "/etc/hostname", "made:/new")
    machine.run("podling", "commit", "-q", "made", "local")
    top = json.loads(machine.run("podling", "image", "inspect", "local").stdout)[0]["RootFS"]["Layers"][1].removeprefix("sha256:")
    flip(machine, f"{GRAPH}/layers/{top}/diff/new")
    kept = machine.run("podling", "system", "check", "--repair", check=False)
    assert kept.returncode == 125
    assert machine.run("podling", "image", "exists", "local", check=False).returncode == 0
    assert "its images were removed" in machine.run("podling", "system", "check", "--repair", "--force").stdout
    assert machine.run("podling", "image", "exists", "local", check=False).returncode == 1
    assert machine.run("podling", "image", "exists", NAME, check=False).returncode == 0
    machine.run("podling", "rm", "made")


def test_containers_storage_is_read_in_place_and_never_written(machine: World) -> None:
    before = machine.run("find", "/var/lib/containers/storage", "-newer", "/run/registry.yml", "-type", "f").stdout
    pulled = machine.run("podling", "pull", "-q", "containers-storage:localhost/bb:latest").stdout.strip()
    theirs = json.loads(machine.podman("image", "inspect", "bb").stdout)[0]["Id"]
    assert pulled == theirs
    assert machine.run("podling", "run", "--rm", "--network", "none", "localhost/bb", "echo", "ran").stdout == "ran\n"
    named = machine.run("podling", "pull", "-q", "containers-storage:[overlay@/var/lib/containers/storage+/run/containers/storage]bb")
    assert named.stdout.strip() == theirs
    machine.run("podling", "push", "-q", "bb", "containers-storage:other:2")
    assert machine.run("podling", "image", "exists", "localhost/other:2").returncode == 0
    refused = machine.run("podling", "push", "-q", "bb", "containers-storage:[overlay@/var/lib/containers/storage]x", check=False)
    assert "podling does not write there" in refused.stderr
    missing = machine.run("podling", "pull", "-q", "containers-storage:nope", check=False)
    assert "does not resolve to an image ID" in missing.stderr
    assert machine.run("find", "/var/lib/containers/storage", "-newer", "/run/registry.yml", "-type", "f").stdout == before
