"""Layers pushed as zstd: skopeo and podman read them, a second push converts nothing unless it is forced."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.sandbox import world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

__all__ = ["world"]
HOST = "localhost:5000"
CONFIG = "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n"


def test_zstd_layers_are_pushed_and_read_by_others(world: World, tmp_path: Path) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world.path("/run/registry.yml").write_text(CONFIG)
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path)))

    def push(tag: str, *options: str) -> list[str]:
        push = ("podling", "push", "-q", "--tls-verify=false", "--format", "oci", *options, "bb", f"{HOST}/bb:{tag}")
        world.wait_until(lambda: world.run(*push, check=False).returncode == 0, "the registry answers")
        raw = json.loads(world.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{HOST}/bb:{tag}").stdout)
        return [layer["mediaType"].rpartition("+")[2] for layer in raw["layers"]]

    assert push("gz", "--retry", "0") == ["gzip"]
    assert push("kept", "--compression-format", "zstd") == ["gzip"]
    forced = ("--compression-format", "zstd", "--compression-level", "5", "--force-compression", "--digestfile", "/run/d")
    assert push("zstd", *forced) == ["zstd"]
    assert world.path("/run/d").read_text().startswith("sha256:")
    world.run("skopeo", "copy", "--src-tls-verify=false", f"docker://{HOST}/bb:zstd", "dir:/run/copied")
    world.podman("pull", "-q", "--tls-verify=false", f"{HOST}/bb:zstd")
    world.run("podling", "rmi", "-a")
    world.run("podling", "pull", "-q", "--tls-verify=false", f"{HOST}/bb:zstd")
    assert world.run("podling", "run", "--rm", "--network", "none", f"{HOST}/bb:zstd", "echo", "ran").stdout == "ran\n"
    server.kill()
    server.wait()
