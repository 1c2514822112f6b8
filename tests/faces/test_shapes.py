"""The JSON that describes containers, images, volumes, networks and the host has podman 5.4's keys, in their order.

The golden file holds the keys that ``podman inspect`` and its like printed, with the names of Python's types as values; where
keys are data (labels, ports) it has an empty object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

GOLDEN = json.loads((Path(__file__).parent / "golden" / "podman-5.4-shapes.json").read_text(encoding="utf-8"))
# Ours beside Podman's, and Podman's that mean nothing here.
MORE = {".host.cgroupLayout", ".version.PythonVersion", ".host.ociRuntime.reason"}
LESS = {".host.freeLocks", ".host.distribution.variant", ".State.StoppedByUser"}


@pytest.fixture(scope="module")
def running(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with one running container that has a volume, a bind mount and a port."""
    from tests.support.busybox import busybox_archive

    shared_world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path_factory.mktemp("shapes"))))
    shared_world.run("podling", "volume", "create", "fresh")
    shared_world.run("podling", "run", "-d", "--name", "c", "-p", "8080:80", "-v", "/tmp:/host:ro", "-v", "data:/data",
                     "--label", "a=b", "--expose", "99", "--ulimit", "core=0:0", "localhost/bb", "sleep", "1000")
    yield shared_world
    shared_world.run("podling", "rm", "-f", "-t", "0", "c")


def keys(value: Any, path: str = "") -> list[str]:
    """Every key with its path, in the order in which they stand."""
    if isinstance(value, list):
        return keys(value[0], f"{path}[]") if value else []
    if not isinstance(value, dict):
        return []
    found = []
    for name, inner in value.items():
        found.append(f"{path}.{name}")
        found += keys(inner, f"{path}.{name}")
    return found


def pruned(value: Any, golden: Any) -> Any:
    """The value without what the golden file leaves out because its keys are data."""
    if isinstance(golden, dict) and isinstance(value, dict):
        if not golden:
            return {}
        if set(golden) == {"ID"}:
            return {"ID": pruned(next(iter(value.values())), golden["ID"])} if value else {}
        return {name: pruned(inner, golden.get(name)) for name, inner in value.items()}
    if isinstance(golden, list):
        return [pruned(value[0], golden[0])] if golden and value else []
    return value


def assert_like(value: Any, kind: str) -> None:
    golden = GOLDEN[kind]
    ours = [key for key in keys(pruned(value, golden)) if key not in MORE]
    theirs = [key for key in keys(golden) if key not in LESS]
    assert ours == theirs


def asked(world: World, *argv: str) -> Any:
    return json.loads(world.run("podling", *argv).stdout)


def test_a_container(running: World) -> None:
    assert_like(asked(running, "inspect", "c")[0], "container")


def test_an_image(running: World) -> None:
    found = asked(running, "image", "inspect", "bb")[0]
    golden = GOLDEN["image"]
    assert [key for key in found if key in golden] == list(golden)


def test_a_list_of_containers(running: World) -> None:
    assert_like(asked(running, "ps", "--format", "json")[0], "ps")


def test_a_list_of_images(running: World) -> None:
    assert_like(asked(running, "images", "--format", "json")[0], "images")


def test_a_network(running: World) -> None:
    assert_like(asked(running, "network", "inspect", "podman")[0], "network")


def test_a_volume(running: World) -> None:
    assert_like(asked(running, "volume", "inspect", "fresh")[0], "volume")


def test_the_host(running: World) -> None:
    assert_like(asked(running, "info", "--format", "json"), "info")
