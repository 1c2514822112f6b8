"""zstd:chunked: containers/storage takes our blobs apart by their tables, and we take its and our own."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.images import simple_image
from tests.support.sandbox import CHECKOUT, new_world
from tests.support.signing import world_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
STORAGE = ('[storage]\ndriver = "overlay"\nrunroot = "/run/skopeo-run"\ngraphroot = "/run/skopeo-graph"\n'
           '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos = ""}\n')
NEWER = str(CHECKOUT / ".cache/skopeo/skopeo")     # knows zstd:chunked; unpacked by `make setup`
PREFIX = "io.github.containers.zstd-chunked."


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a registry, and busybox and an image of two layers in podling's store."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world, base = new_world(), tmp_path_factory.mktemp("chunked")
    world.path("/run/storage.conf").write_text(STORAGE)
    server = world_registry(world)
    content = random.Random(1).randbytes
    simple_image({"etc/a": b"1" * 1000, "usr/big": content(2_000_000), "usr/empty": b""}, {"etc/b": content(5000)}).write_layout(
        base / "layout", "two:1")
    world.run("podling", "pull", "-q", f"oci:{base / 'layout'}:two:1")
    world.run("podling", "load", "-q", "-i", str(busybox_archive(base)))
    yield world
    server.kill()
    server.wait()
    world.close()


def push(world: World, name: str, target: str, *options: str) -> list[dict[str, object]]:
    """Push and give the layers of the manifest that is there then."""
    world.run("podling", "push", "-q", "--tls-verify=false", *options, name, f"{HOST}/{target}")
    raw = json.loads(world.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{HOST}/{target}").stdout)
    assert raw["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    layers: list[dict[str, object]] = raw["layers"]
    return layers


@pytest.mark.skipif(not os.path.exists(NEWER), reason="scripts/newer-skopeo has not been run")
@pytest.mark.parametrize("name", ["bb", "two:1"])
def test_containers_storage_takes_what_we_push_apart(machine: World, name: str) -> None:
    skopeo, short = NEWER, name.partition(":")[0]
    layers = push(machine, name, f"{short}:c", "--compression-format", "zstd:chunked", "--force-compression")
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    for layer in layers:
        annotations = layer["annotations"]
        assert isinstance(annotations, dict)
        assert {key.removeprefix(PREFIX) for key in annotations} == {"manifest-position", "manifest-checksum", "tarsplit-position",
                                                                     "tarsplit-checksum"}
    env = {"CONTAINERS_STORAGE_CONF": "/run/storage.conf"}
    done = machine.run(skopeo, "--debug", "copy", "--src-tls-verify=false", f"docker://{HOST}/{short}:c",
                       f"containers-storage:{short}:c", env=env)
    assert done.stderr.count("Retrieved partial blob") == len(layers), done.stderr
    machine.run(skopeo, "copy", f"containers-storage:{short}:c", f"dir:/run/{short}", env=env)      # by the tar-split, with its checksums
    assert push(machine, name, f"{short}:again", "--compression-format", "zstd:chunked") == layers
    machine.podman("pull", "-q", "--tls-verify=false", f"{HOST}/{short}:c")


@pytest.mark.skipif(not os.path.exists(NEWER), reason="scripts/newer-skopeo has not been run")
def test_what_containers_storage_wrote_is_pulled_in_parts(machine: World) -> None:
    content = random.Random(2).randbytes
    shared = {f"usr/file{number}": content(30_000) for number in range(40)} | {"usr/large": content(3_000_000)}
    size = {}
    for name, files in (("first", {"etc/1": b"1"}), ("second", {"etc/2": content(20_000), "usr/zero": bytes(500_000)})):
        layout = machine.path(f"/run/{name}")
        simple_image({**shared, **files}).write_layout(layout, "x")
        machine.run(NEWER, "copy", "--dest-tls-verify=false", "--dest-compress-format", "zstd:chunked", f"oci:/run/{name}:x",
                    f"docker://{HOST}/{name}:1")
        raw = json.loads(machine.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{HOST}/{name}:1").stdout)
        assert PREFIX + "manifest-checksum" in raw["layers"][0]["annotations"]
        size[name] = raw["layers"][0]["size"]
        done = machine.run("podling", "--log-level", "debug", "pull", "--tls-verify=false", f"{HOST}/{name}:1")
    said = next(line for line in done.stderr.splitlines() if "bytes fetched" in line)
    fetched = int(said.partition(" bytes fetched")[0].rpartition(" of ")[0].rpartition(" ")[2])
    assert 20_000 < fetched < 60_000 < size["second"] // 10
    machine.run("podling", "save", "--format", "oci-dir", "-o", "/run/saved", f"{HOST}/second:1")       # the tar has its digest


def test_layouts_have_tables_too(machine: World) -> None:
    machine.run("podling", "push", "-q", "--compression-format", "zstd:chunked", "two:1", "oci:/run/tabled:two")
    for place in ("oci:/run/tabled:two", f"docker://{HOST}/tabled:1"):
        machine.run("skopeo", "copy", "--dest-tls-verify=false", "oci:/run/tabled:two", f"docker://{HOST}/tabled:1")
        raw = json.loads(machine.run("skopeo", "inspect", "--raw", "--tls-verify=false", place).stdout)
        assert all(PREFIX + "manifest-checksum" in layer["annotations"] for layer in raw["layers"])
    machine.run("podling", "pull", "-q", "oci:/run/tabled:two")


def test_docker_manifests_have_no_tables(machine: World) -> None:
    refused = machine.run("podling", "push", "--compression-format", "zstd:chunked", "--format", "v2s2", "bb", f"{HOST}/no", check=False)
    assert refused.returncode == 125
    assert "--format oci" in refused.stderr
