"""skopeo reads what we save and push, and we read what skopeo writes, digest for digest."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

FORMATS = {"docker-archive": "docker-archive:/run/out.tar", "oci-archive": "oci-archive:/run/out.tar", "oci-dir": "oci:/run/out",
           "docker-dir": "dir:/run/out"}
REGISTRY = "localhost:5000"


@pytest.fixture
def registry(world: World, busybox: Path) -> Iterator[World]:
    """A world with Debian's docker-registry on localhost:5000, busybox loaded."""
    world.path("/run/registry.yml").write_text("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /run/registry}}\n"
                                               "http: {addr: '127.0.0.1:5000'}\n", encoding="ascii")
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.wait_until(lambda: world.run("curl", "-sf", f"http://{REGISTRY}/v2/", check=False).returncode == 0, "the registry")
    world.run("podling", "load", "-q", "-i", str(busybox))
    yield world
    server.kill()
    server.wait()


def skopeo(world: World, place: str) -> dict[str, object]:
    """What skopeo says of an image."""
    answer: dict[str, object] = json.loads(world.run("skopeo", "inspect", "--tls-verify=false", place).stdout)
    return answer


@pytest.mark.parametrize("form", FORMATS)
def test_saved_images_keep_every_digest(registry: World, form: str) -> None:
    place = FORMATS[form]
    diff_ids = json.loads(registry.run("podling", "image", "inspect", "bb").stdout)[0]["RootFS"]["Layers"]
    registry.run("podling", "save", "-q", "--format", form, "-o", place.partition(":")[2], "bb")
    assert skopeo(registry, place)["Layers"] == diff_ids
    image_id = registry.run("podling", "images", "-q", "--no-trunc").stdout
    registry.run("podling", "rmi", "-af")
    registry.run("podling", "load", "-q", "-i", place.partition(":")[2])
    assert registry.run("podling", "images", "-q", "--no-trunc").stdout == image_id


@pytest.mark.parametrize("place", ["docker-archive:/run/theirs.tar:localhost/theirs:1", "oci-archive:/run/theirs.tar:localhost/theirs:1",
                                   "oci:/run/theirs:localhost/theirs:1", "dir:/run/theirs"])
def test_images_of_skopeo_run(registry: World, place: str) -> None:
    registry.run("podling", "push", "-q", "--tls-verify=false", "bb", f"{REGISTRY}/bb:1")
    registry.run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{REGISTRY}/bb:1", place)
    registry.run("podling", "rmi", "-af")
    registry.run("podling", "load", "-q", "-i", place.split(":")[1])
    image = registry.run("podling", "images", "-q").stdout.strip()
    assert registry.run("podling", "run", "--rm", "--network", "none", image, "echo", "ran").stdout == "ran\n"


def test_pulled_image_is_pushed_unchanged(registry: World) -> None:
    registry.run("podling", "push", "-q", "--tls-verify=false", "bb", f"{REGISTRY}/bb:1")
    registry.run("podling", "rmi", "-af")
    registry.run("podling", "pull", "-q", "--tls-verify=false", f"{REGISTRY}/bb:1")
    registry.run("podling", "push", "-q", "--tls-verify=false", f"{REGISTRY}/bb:1", f"{REGISTRY}/again:1")
    assert skopeo(registry, f"docker://{REGISTRY}/again:1")["Digest"] == skopeo(registry, f"docker://{REGISTRY}/bb:1")["Digest"]
