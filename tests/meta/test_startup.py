"""What the frequent commands load when they succeed, with a real container. Every millisecond here is paid for every container."""

from __future__ import annotations

import sys
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


def test_moving_an_image_loads_what_it_uses(loaded_world: World, busybox: Path, tmp_path: Path) -> None:
    heavy = {"urllib3", "http.client", "logging", "queue", "base64", "sqlite3", "bz2", "lzma", "podling.config.auth", "yaml"}
    for argv in (("save", "-q", "-o", str(tmp_path / "saved.tar"), "bb"), ("load", "-q", "-i", str(busybox))):
        loaded = modules(loaded_world, *argv)
        assert "podling.engine.transfers" in loaded, argv
        assert not loaded & (heavy | {"socket", "ssl", "threading"}), argv
