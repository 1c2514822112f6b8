"""How containers end that somebody ends: who cleans up, and several at once."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]
RUN = ("run", "-d", "--network", "none", "--name")
LONG = ("sleep", "1000")


@pytest.fixture
def loaded(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-i", str(busybox))
    return world


DEAF_ONES = ("w", "x", "y", "z")                           # no beginnings of ids
DEAF = ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")


@pytest.mark.parametrize("command", [("rm", "-f"), ("stop",), ("kill",)], ids=" ".join)
def test_whoever_ends_a_container_cleans_up_without_a_second_interpreter(loaded: World, command: tuple[str, ...]) -> None:
    loaded.run("podling", *RUN, "c", "bb", *LONG)
    conmon = loaded.run("podling", "inspect", "--format", "{{.State.ConmonPid}}", "c").stdout.strip()
    tracer = loaded.spawn("strace", "-f", "-e", "trace=execve", "-o", "/run/trace", "-p", conmon, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    tracer.stderr.readline()                                # it is attached
    loaded.run("podling", *command, "c")
    tracer.wait(timeout=20)                                 # until conmon and its exit command have ended
    started = [line.split('"')[1] for line in loaded.path("/run/trace").read_text(encoding="utf-8", errors="replace").splitlines()
               if "execve(" in line and " = 0" in line]
    assert "/bin/sh" in started
    assert not [program for program in started if "python" in program]
    loaded.run("podling", "rm", "-f", "c")
    loaded.assert_nothing_left()


@pytest.mark.parametrize("removed", [True, False])
def test_exit_command_steps_in_for_a_killed_stop(loaded: World, removed: bool) -> None:
    options = ("--rm",) if removed else ()
    loaded.run("podling", *RUN, "c", *options, "bb", "sh", "-c",
               "trap 'sleep 1; exit 5' TERM; touch /dev/shm/ready; while :; do sleep 0.05; done")
    loaded.wait_until(lambda: loaded.run("podling", "exec", "c", "test", "-e", "/dev/shm/ready", check=False).returncode == 0, "it listens")
    process = loaded.spawn("podling", "stop", "c")
    loaded.wait_until(lambda: "topping" in loaded.run("podling", "ps", "-a", "--format", "{{.Status}}").stdout, "it is told to stop")
    process.kill()
    process.wait()
    if removed:
        loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "conmon's exit command removes it")
    else:
        loaded.wait_until(lambda: not [line for line in loaded.left() if line.startswith(("mount", "cgroup", "process"))],
                          "conmon's exit command takes it down")
        assert loaded.run("podling", "wait", "c").stdout.strip() == "5"
        loaded.run("podling", "rm", "c")
    loaded.assert_nothing_left()


@pytest.mark.parametrize("command", [("stop", "-t", "2"), ("rm", "-f", "-t", "2")], ids=" ".join)
def test_containers_end_side_by_side(loaded: World, command: tuple[str, ...]) -> None:
    """Each of four is deaf to the stop signal: one after the other they would take eight seconds."""
    for name in DEAF_ONES:
        loaded.run("podling", *RUN, name, "bb", *DEAF)
    time.sleep(0.3)                                         # their shells have come to the trap
    begin = time.monotonic()
    assert loaded.run("podling", *command, *DEAF_ONES).stdout.split() == list(DEAF_ONES)
    assert 2 <= time.monotonic() - begin < 5
    assert not loaded.run("podling", "ps", "-q").stdout
    loaded.run("podling", "rm", "-af")
    loaded.assert_nothing_left()


def test_a_container_that_cannot_be_stopped_keeps_no_other_from_it(loaded: World) -> None:
    for name in "xy":
        loaded.run("podling", *RUN, name, "bb", *LONG)
    loaded.run("podling", "pause", "x")
    done = loaded.run("podling", "stop", "-t", "0", "x", "y", check=False)
    assert (done.returncode, done.stdout) == (125, "y\n")
    assert "it is paused" in done.stderr
    assert loaded.run("podling", "rm", "-f", "-t", "0", "x", "y").stdout == "x\ny\n"
    loaded.assert_nothing_left()
