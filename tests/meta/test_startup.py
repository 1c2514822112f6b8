"""What the frequent commands load when they succeed, with a real container. Every millisecond here is paid for every container."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.meta.test_structure import FORBIDDEN, SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def loaded_world(shared_world: World, busybox: Path) -> World:
    """A world with the image bb and all caches written by the first container."""
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("podling", "run", "--rm", "bb", "true")
    shared_world.run("podling", "run", "--rm", "bb", "true")
    return shared_world


def modules(world: World, *argv: str, check: bool = True) -> set[str]:
    """The modules that a command loads."""
    command = (sys.executable, "-I", "-S", "-X", "importtime", str(SOURCE / "__main__.py"))
    said = world.run(*command, *argv, check=check).stderr
    return {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}


def test_frequent_commands_load_little(loaded_world: World) -> None:
    for argv in (
        ("run", "--rm", "bb", "true"),
        ("run", "--rm", "--network", "none", "-e", "A=b", "-v", "/usr:/u:ro", "-m", "64m", "bb", "true"),
        ("run", "-d", "--name", "c", "-p", "8080:80", "bb", "sleep", "100"),
        ("ps",), ("ps", "-a", "--format", "{{.ID}}"), ("exec", "c", "true"), ("stop", "-t", "0", "c"), ("start", "c"),
        ("kill", "c"), ("wait", "c"), ("container", "cleanup", "c"), ("rm", "-f", "c"),
    ):
        loaded = modules(loaded_world, *argv)
        assert "podling.engine.engine" in loaded, argv
        assert not loaded & FORBIDDEN, argv
        assert not {name for name in loaded if name.startswith(("podling.image.registry", "podling.cli.commands.transfer"))}, argv
    loaded_world.assert_nothing_left()


def test_what_only_looks_loads_nothing_that_starts_programs(loaded_world: World) -> None:
    loaded_world.run("podling", "run", "-d", "--name", "seen", "--network", "none", "bb", "sleep", "100")
    for argv in (("ps",), ("inspect", "seen"), ("images",), ("logs", "seen")):
        loaded = modules(loaded_world, *argv)
        assert "podling.linux.pids" in loaded, argv
        assert not loaded & {"podling.linux.process", "podling.runtime.streams", "podling.runtime.monitor"}, argv
    started = modules(loaded_world, "run", "-d", "--rm", "--network", "none", "bb", "true")
    assert not started & {"podling.runtime.streams", "podling.runtime.terminals", "podling.engine.descriptors"}
    loaded_world.run("podling", "rm", "-f", "-t0", "seen")


def test_moving_an_image_loads_what_it_uses(loaded_world: World, busybox: Path, tmp_path: Path) -> None:
    heavy = {"urllib3", "http.client", "logging", "queue", "base64", "sqlite3", "bz2", "lzma", "podling.config.auth", "yaml"}
    for argv in (("save", "-q", "-o", str(tmp_path / "saved.tar"), "bb"), ("load", "-q", "-i", str(busybox))):
        loaded = modules(loaded_world, *argv)
        assert "podling.engine.transfers" in loaded, argv
        assert not loaded & (heavy | {"socket", "ssl", "threading"}), argv


def test_a_registry_without_tls_needs_little(loaded_world: World) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    loaded_world.path("/run/registry.yml").write_text(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n")
    server = loaded_world.spawn("docker-registry", "serve", "/run/registry.yml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    name = "localhost:5000/bb:1"
    push, pull = ("push", "-q", "--tls-verify=false", "bb", name), ("pull", "-q", "--tls-verify=false", name)
    loaded_world.wait_until(lambda: loaded_world.run("podling", *push, check=False).returncode == 0, "the registry answers")
    time.sleep(2.5)                          # then configuration files are old enough to be remembered
    loaded_world.run("podling", *push)
    loaded = modules(loaded_world, *push)
    assert "podling.image.registry.http1" in loaded
    assert not loaded & (FORBIDDEN | {"threading", "functools", "collections", "base64", "encodings.idna"})
    loaded_world.run("podling", "rmi", "-f", "bb")
    loaded = modules(loaded_world, *pull)
    assert "podling.store.adding" in loaded
    assert not loaded & FORBIDDEN
    loaded_world.run("podling", "tag", name, "bb")
    server.kill()
    server.wait()
