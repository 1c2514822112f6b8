"""``system reset`` and ``system migrate`` for root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World


def test_reset_removes_everything_of_ours(world: World, busybox: Path) -> None:
    world.run("podling", "load", "-q", "-i", str(busybox))
    world.run("podling", "network", "create", "own")
    for name, flags in (("a", ("-p", "8080:80")), ("b", ("--network", "own", "-v", "vol:/v")), ("c", ("--network", "none"))):
        world.run("podling", "run", "-d", "--name", name, *flags, "bb", "sleep", "100")
    world.run("podling", "run", "-d", "--name", "d", "--network", "container:a", "bb", "sleep", "100")
    said = world.run("podling", "system", "reset", stdin=b"\n").stdout
    assert said.startswith("WARNING! This will remove:\n        - all containers\n")
    assert said.endswith("Are you sure you want to continue? [y/N] ")
    assert len(world.run("podling", "ps", "-q").stdout.split()) == 4
    world.run("podling", "system", "reset", "--force")
    assert not world.path("/var/lib/containers/podling").exists()
    assert not world.path("/run/containers/podling").exists()
    assert not world.path("/etc/containers/networks/own.json").exists()
    world.assert_nothing_left()
    for words in (("ps", "-aq"), ("images", "-q"), ("volume", "ls", "-q")):
        assert world.run("podling", *words).stdout == ""


def test_migrate_changes_the_runtime_of_what_does_not_run(world: World, busybox: Path) -> None:
    world.run("podling", "load", "-q", "-i", str(busybox))
    for name in ("stopped", "running"):
        world.run("podling", "--runtime", "crun", "create", "--name", name, "--network", "none", "bb", "sleep", "100")
    world.run("podling", "start", "running")
    assert world.run("podling", "system", "migrate", "--new-runtime", "runc").stdout == ""
    assert world.run("podling", "inspect", "--format", "{{.OCIRuntime}}", "stopped", "running").stdout == "runc\ncrun\n"
    world.run("podling", "start", "stopped")
    world.run("podling", "rm", "-f", "-t", "0", "stopped", "running")
    world.assert_nothing_left()
