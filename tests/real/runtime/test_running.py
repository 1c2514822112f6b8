"""Running containers under both runtimes: freezing, limits, out of memory, many at once, nothing kept open."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]
COUNT = "trap 'exit 7' USR2; i=0; while :; do i=$((i+1)); echo $i >/count; done"


@pytest.fixture
def loaded(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-i", str(busybox))
    return world


def whole_life(world: World, *options: str) -> None:
    """Everything that a runtime is asked for in a container's life."""
    world.run("podling", *options, "run", "-d", "--name", "c", "--network", "none", "-m", "64m", "--pids-limit", "20", "bb", "sh", "-c",
              COUNT)

    def count() -> int:
        return int(world.run("podling", "exec", "c", "cat", "/count").stdout or 0)

    world.wait_until(lambda: count() > 0, "it counts")
    world.run("podling", "pause", "c")
    assert "Paused" in world.run("podling", "ps", "-a", "--format", "{{.Status}}").stdout
    assert world.run("podling", "exec", "c", "true", check=False).returncode != 0
    world.run("podling", "unpause", "c")
    before = count()
    world.wait_until(lambda: count() != before, "it goes on")
    world.run("podling", "kill", "-s", "USR2", "c")
    assert world.run("podling", "wait", "c").stdout.strip() == "7"
    world.run("podling", "start", "c")
    world.run("podling", "stop", "-t", "0", "c")
    world.run("podling", "rm", "c")
    world.assert_nothing_left()


def test_life_under_each_runtime(loaded: World, runtime: str) -> None:
    whole_life(loaded, "--runtime", runtime)


def test_life_on_this_hosts_cgroups(host_like_world: World, busybox: Path) -> None:
    host_like_world.run("podling", "load", "-i", str(busybox))
    whole_life(host_like_world)


def test_paused_container_can_be_removed(loaded: World, runtime: str) -> None:
    loaded.run("podling", "--runtime", runtime, "run", "-d", "--name", "c", "--network", "none", "bb", "sleep", "1000")
    loaded.run("podling", "pause", "c")
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_out_of_memory_is_told(loaded: World, runtime: str) -> None:
    loaded.run("podling", "--runtime", runtime, "run", "--name", "c", "--network", "none", "-m", "20m", "--memory-swap", "20m", "bb",
               "sh", "-c", "head -c 200m /dev/zero | tail", check=False)
    assert loaded.run("podling", "inspect", "--format", "{{.State.OOMKilled}}", "c").stdout == "true\n"
    loaded.run("podling", "rm", "c")
    loaded.assert_nothing_left()


def test_timeout_ends_it(loaded: World) -> None:
    begin = time.monotonic()
    done = loaded.run("podling", "run", "--rm", "--timeout", "1", "--network", "none", "bb", "sleep", "1000", check=False)
    assert done.returncode == 255
    assert time.monotonic() - begin < 60
    loaded.assert_nothing_left()


def test_many_at_once(loaded: World) -> None:
    running = [loaded.spawn("podling", "run", "--rm", "--network", "none", "bb", "sh", "-c", f"exit {number}") for number in range(20)]
    assert [process.wait(120) for process in running] == list(range(20))
    assert loaded.run("podling", "ps", "-aq").stdout == ""
    loaded.assert_nothing_left()


def _descriptors_after(runs: int) -> list[int]:
    from podling.engine import attach
    from podling.engine import exec as executing
    from podling.engine.engine import open_engine
    from podling.engine.globals import GlobalOptions
    from podling.engine.options import ExecOptions, RunOptions, StopOptions
    from podling.engine.start import start
    from podling.engine.stop import stop

    engine = open_engine(GlobalOptions())
    found = []
    for _ in range(runs):
        attach.run(engine, engine.containers.find("short"), RunOptions())
        start(engine, engine.containers.find("long"))
        executing.execute(engine, engine.containers.find("long"), ExecOptions(command=("true",)))
        stop(engine, engine.containers.find("long"), StopOptions(timeout=0))
        found.append(len(os.listdir("/proc/self/fd")))
    return found


def test_nothing_stays_open_in_a_process_that_lives_on(loaded: World) -> None:
    loaded.run("podling", "create", "--name", "short", "--network", "none", "bb", "true")
    loaded.run("podling", "create", "--name", "long", "--network", "none", "bb", "sleep", "1000")
    found = loaded.call(_descriptors_after, 4)
    assert found[1] == found[3]
    loaded.run("podling", "rm", "-f", "short", "long")
    loaded.assert_nothing_left()
