"""Volumes as containers use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World


@pytest.fixture
def ready(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-q", "-i", str(busybox))
    return world


def lines(world: World, *argv: str) -> list[str]:
    return world.run("podling", *argv).stdout.splitlines()


def test_many_containers_that_ask_for_one_new_volume_share_it(ready: World) -> None:
    started = [ready.spawn("podling", "create", "-v", "shared:/x", "bb", "true", stdout=-3, stderr=-1) for _ in range(8)]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    assert lines(ready, "volume", "ls", "-q") == ["shared"]
    assert len(lines(ready, "ps", "-aq", "--filter", "volume=shared")) == 8


def test_what_one_container_writes_the_next_one_reads(ready: World) -> None:
    ready.run("podling", "run", "--rm", "--network", "none", "-v", "data:/x", "bb", "sh", "-c", "echo kept >/x/file")
    assert lines(ready, "run", "--rm", "--network", "none", "-v", "data:/x:ro", "bb", "cat", "/x/file") == ["kept"]


def test_a_new_volume_has_the_images_content_and_the_next_image_does_not_change_it(ready: World) -> None:
    assert lines(ready, "run", "--rm", "--network", "none", "-v", "etc:/etc", "bb", "cat", "/etc/group") == ["root:x:0:"]
    ready.run("podling", "run", "--rm", "--network", "none", "-v", "etc:/etc", "bb", "rm", "/etc/group")
    assert "group" not in lines(ready, "run", "--rm", "--network", "none", "-v", "etc:/etc", "bb", "ls", "/etc")


def test_a_volume_where_the_image_has_nothing_belongs_to_the_user(ready: World) -> None:
    assert lines(ready, "run", "--rm", "--network", "none", "-u", "7:8", "-v", "own:/new", "bb", "sh", "-c",
                 "touch /new/file && stat -c %u:%g /new") == ["7:8"]


def test_rm_takes_anonymous_volumes_with_it_and_leaves_named_ones(ready: World) -> None:
    ready.run("podling", "run", "--rm", "--network", "none", "-v", "/anonymous", "-v", "named:/x", "bb", "true")
    assert lines(ready, "volume", "ls", "-q") == ["named"]


def test_force_removes_the_containers_too(ready: World) -> None:
    ready.run("podling", "run", "-d", "--network", "none", "--name", "c", "-v", "data:/x", "bb", "sleep", "1000")
    refused = ready.run("podling", "volume", "rm", "data", check=False)
    assert refused.returncode == 2
    assert lines(ready, "volume", "rm", "-f", "-t", "0", "data") == ["data"]
    assert lines(ready, "ps", "-aq") == []
    ready.assert_nothing_left()


def test_a_tmpfs_volume_lives_as_long_as_a_container_uses_it(ready: World) -> None:
    ready.run("podling", "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m", "memory")
    ready.run("podling", "run", "-d", "--network", "none", "--name", "c", "-v", "memory:/x", "bb", "sleep", "1000")
    ready.run("podling", "exec", "c", "sh", "-c", "echo kept >/x/file")
    assert lines(ready, "run", "--rm", "--network", "none", "-v", "memory:/x", "bb", "cat", "/x/file") == ["kept"]
    assert lines(ready, "volume", "inspect", "--format", "{{.MountCount}}", "memory") == ["1"]
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()
    assert lines(ready, "run", "--rm", "--network", "none", "-v", "memory:/x", "bb", "ls", "/x") == []


def test_prune_asks_and_takes_what_nobody_uses(ready: World) -> None:
    ready.run("podling", "volume", "create", "unused")
    ready.run("podling", "create", "--network", "none", "-v", "used:/x", "bb", "true")
    refused = ready.run("podling", "volume", "prune", stdin=b"n\n")
    assert refused.stdout.splitlines()[1] == "unused"
    assert lines(ready, "volume", "ls", "-q") == ["unused", "used"]
    assert ready.run("podling", "volume", "prune", stdin=b"y\n").stdout.endswith("[y/N] unused\n")
    assert lines(ready, "volume", "ls", "-q") == ["used"]
