"""Logs that conmon writes, read back, bounded and followed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]


@pytest.fixture(scope="module")
def loaded(shared_world: World, busybox: Path) -> World:
    shared_world.run("podling", "load", "-i", str(busybox))
    shared_world.podman("load", "-i", str(busybox))
    return shared_world


def run(world: World, name: str, script: str, *options: str) -> None:
    world.run("podling", "run", "-d", "--name", name, "--network", "none", *options, "bb", "sh", "-c", script)


def ended(world: World, name: str) -> None:
    world.run("podling", "wait", name)


def test_streams_come_back_apart(loaded: World) -> None:
    run(loaded, "apart", "echo out; sleep 0.1; echo error >&2; sleep 0.1; printf 'no end'")
    ended(loaded, "apart")
    done = loaded.run("podling", "logs", "apart")
    assert (done.stdout.rstrip("\n"), done.stderr) == ("out\nno end", "error\n")


def test_long_lines_are_joined_again(loaded: World) -> None:
    run(loaded, "long", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo second")
    ended(loaded, "long")
    assert loaded.run("podling", "logs", "long").stdout == "x" * 100000 + "\nsecond\n"
    assert loaded.run("podling", "logs", "--tail", "2", "long").stdout == "x" * 100000 + "\nsecond\n"
    assert loaded.run("podling", "logs", "--tail", "1", "long").stdout == "second\n"


def test_tail_and_times(loaded: World) -> None:
    run(loaded, "many", "for i in $(seq 5000); do echo $i; done; sleep 1.2; echo last")
    ended(loaded, "many")
    assert loaded.run("podling", "logs", "--tail", "3", "many").stdout == "4999\n5000\nlast\n"
    assert loaded.run("podling", "logs", "--tail", "0", "many").stdout == ""
    assert loaded.run("podling", "logs", "many").stdout.count("\n") == 5001
    stamped = loaded.run("podling", "logs", "--timestamps", "--tail", "2", "many").stdout.splitlines()
    first, second = (text.split(" ")[0] for text in stamped)
    assert loaded.run("podling", "logs", "--since", second, "many").stdout == ""     # both bounds are left out, as in Podman 5
    assert "last" not in loaded.run("podling", "logs", "--until", first, "many").stdout
    assert "last" in loaded.run("podling", "logs", "--until", "0s", "--since", "1h", "--tail", "2", "many").stdout


def test_until_is_counted_from_now_on(loaded: World) -> None:
    run(loaded, "counting", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done")
    shown = loaded.run("podling", "logs", "-f", "--until", "1s", "counting").stdout.split()
    assert shown == [str(number) for number in range(1, len(shown) + 1)]
    assert 2 <= len(shown) < 9
    loaded.run("podling", "rm", "-f", "-t", "0", "counting")


def test_size_limit_bounds_the_file(loaded: World) -> None:
    run(loaded, "bound", "for i in $(seq 20000); do echo line $i; done", "--log-opt", "max-size=20k")
    ended(loaded, "bound")
    path = loaded.path(loaded.run("podling", "inspect", "--format", "{{.HostConfig.LogConfig.Path}}", "bound").stdout.strip())
    assert 0 < path.stat().st_size <= 20480
    assert [other for other in path.parent.iterdir() if other.name.startswith(path.name) and other != path] == []
    lines = loaded.run("podling", "logs", "bound").stdout.splitlines()
    assert lines[-1] == "line 20000"
    numbers = [int(text.split()[1]) for text in lines]
    assert numbers == list(range(numbers[0], 20001))


def test_follow_goes_on_over_new_files_until_the_end(loaded: World) -> None:
    run(loaded, "rotating", "for i in $(seq 60); do echo line $i; sleep 0.04; done", "--log-opt", "max-size=1k")
    follower = loaded.spawn("podling", "logs", "-f", "rotating", stdout=subprocess.PIPE)
    output, _ = follower.communicate(timeout=30)
    assert follower.returncode == 0
    lines = output.decode().splitlines()
    assert lines[-1] == "line 60"
    assert len(lines) == 60 - int(lines[0].split()[1]) + 1


def test_follow_ends_with_a_container_that_is_removed(loaded: World) -> None:
    loaded.run("podling", "run", "-d", "--rm", "--name", "gone", "--network", "none", "bb", "sh", "-c", "echo a; sleep 0.7; echo b")
    assert loaded.run("podling", "logs", "-f", "gone", timeout=20).stdout == "a\nb\n"


@pytest.mark.parametrize("driver", ["none", "passthrough"])
def test_logs_that_are_not_kept_are_refused_as_podman_does(loaded: World, driver: str) -> None:
    for engine in ("podling", "podman"):
        loaded.run(*(("podling",) if engine == "podling" else ("env", "CONTAINERS_CONF=/run/podman-oracle.conf", "podman")),
                   "run", "-d", "--name", f"not-{driver}", "--log-driver", driver, "--network", "none", "bb", "true")
    ours = loaded.run("podling", "logs", f"not-{driver}", check=False)
    theirs = loaded.podman("logs", f"not-{driver}", check=False)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


def test_passthrough_writes_to_the_callers_streams(loaded: World) -> None:
    done = loaded.run("podling", "run", "--rm", "--log-driver", "passthrough", "--network", "none", "bb", "sh", "-c", "echo through")
    assert done.stdout == "through\n"


def test_journald_is_refused_where_it_does_not_run(loaded: World) -> None:
    done = loaded.run("podling", "run", "--rm", "--log-driver", "journald", "--network", "none", "bb", "true", check=False)
    assert done.returncode == 126
    assert "journal" in done.stderr


def test_nothing_is_left(loaded: World) -> None:
    loaded.run("podling", "rm", "-af")
    loaded.podman("rm", "-af")
    loaded.assert_nothing_left()
