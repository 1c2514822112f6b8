"""conmon with crun and runc: exit codes, who cleans up, what is left."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]
LONG = ("sleep", "1000")


@pytest.fixture
def loaded(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-i", str(busybox))
    return world


def run_options(runtime: str) -> tuple[str, ...]:
    return ("--runtime", runtime, "run", "--network", "none")


@pytest.mark.parametrize(("command", "code", "ending"), [
    ("true", 0, ""),
    ("sh -c 'exit 42'", 42, ""),
    ("sh -c 'sleep 9 & kill -9 $!; wait $!'", 137, ""),
    ("nosuch", 127, "OCI runtime attempted to invoke a command that was not found"),
    ("/bin/nosuch", 127, "OCI runtime attempted to invoke a command that was not found"),
    ("/etc", 126, "OCI permission denied"),
    ("/etc/passwd", 126, "OCI permission denied"),
])
def test_exit_codes_and_errors(loaded: World, runtime: str, command: str, code: int, ending: str) -> None:
    words = " ".join(run_options(runtime))
    done = loaded.run("sh", "-c", f"podling {words} --rm bb {command}", check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.rstrip().endswith(ending)
    assert done.stderr.startswith(f"Error: {runtime}: ") or not ending
    loaded.assert_nothing_left()


def test_errors_are_podmans_to_the_letter(loaded: World, busybox: Path, runtime: str) -> None:
    loaded.podman("load", "-i", str(busybox))
    for command in ("nosuch", "/etc"):
        ours = loaded.run("podling", *run_options(runtime), "--rm", "bb", command, check=False)
        theirs = loaded.podman("--runtime", runtime, "run", "--network", "none", "--rm", "bb", command, check=False)
        assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


def test_foreground_cleans_up_without_a_second_interpreter(loaded: World) -> None:
    trace = "/run/trace"
    loaded.run("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve", "-s", "200", "-o", trace, "podling",
               *run_options("crun"), "--rm", "bb", "true")
    lines = loaded.path(trace).read_text(encoding="utf-8", errors="replace").splitlines()
    cleanups = [line for line in lines if '"cleanup"' in line and "python" in line.split("execve(")[-1].split(",")[0]]
    assert cleanups == []
    loaded.assert_nothing_left()


@pytest.mark.parametrize("removed", [True, False])
def test_exit_command_steps_in_for_a_killed_foreground(loaded: World, runtime: str, removed: bool) -> None:
    options = ("--rm",) if removed else ()
    process = loaded.spawn("podling", *run_options(runtime), "--name", "c", *options, "bb", "sh", "-c", "sleep 3; exit 5")
    loaded.wait_until(lambda: "c" in loaded.run("podling", "ps", "--format", "{{.Names}}").stdout, "it runs")
    process.kill()
    process.wait()
    assert loaded.run("podling", "ps", "-q").stdout, "the container outlives the one that started it"
    if removed:
        loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "conmon's exit command removes it")
        loaded.assert_nothing_left()
    else:
        loaded.wait_until(lambda: not loaded.run("podling", "ps", "-q").stdout, "it ends")
        assert loaded.run("podling", "wait", "c").stdout.strip() == "5"
        loaded.wait_until(lambda: not [line for line in loaded.left() if line.startswith(("mount", "cgroup", "process"))],
                          "conmon's exit command takes it down")
        loaded.run("podling", "rm", "c")
        loaded.assert_nothing_left()


def test_foreground_killed_at_its_end_is_cleaned_up_after(loaded: World) -> None:
    """Killed at any instant around the end of the container: nothing is left."""
    for delay in range(0, 60, 12):
        process = loaded.spawn("podling", *run_options("crun"), "--rm", "--name", f"c{delay}", "bb", "sleep", "0.6")
        loaded.wait_until(lambda name=f"c{delay}": name in loaded.run("podling", "ps", "--format", "{{.Names}}").stdout, "it runs")
        loaded.run("sleep", str(0.5 + delay / 1000))
        process.kill()
        process.wait()
    loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "all are removed")
    loaded.assert_nothing_left()


def test_detached_container_is_cleaned_up_by_exit_command(loaded: World, runtime: str) -> None:
    loaded.run("podling", *run_options(runtime), "-d", "--rm", "bb", "sleep", "0.2")
    loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "it removes itself")
    loaded.assert_nothing_left()


def test_monitor_killed_loses_only_the_exit_code(loaded: World) -> None:
    loaded.run("podling", *run_options("crun"), "-d", "--name", "c", "bb", *LONG)
    pid = int(loaded.run("podling", "inspect", "--format", "{{.State.ConmonPid}}", "c").stdout)
    loaded.run("kill", "-9", str(pid))
    assert loaded.run("podling", "ps", "-q").stdout
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_a_runtime_that_is_still_making_the_container_is_ended_with_it(loaded: World, runtime: str) -> None:
    """A command is killed while a hook keeps the runtime waiting: what that would make later nobody would find."""
    hook = loaded.path("/run/hooks/slow.sh")
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\ntouch /run/hooks/at-it\nexec sleep 1.5\n")
    hook.chmod(0o755)
    loaded.path("/run/hooks/slow.json").write_text(
        '{"version": "1.0.0", "hook": {"path": "/run/hooks/slow.sh"}, "when": {"always": true}, "stages": ["prestart"]}')
    process = loaded.spawn("podling", "--hooks-dir", "/run/hooks", *run_options(runtime), "-d", "--name", "c", "bb", *LONG)
    loaded.wait_until(lambda: loaded.path("/run/hooks/at-it").exists(), "the runtime is at it")
    process.kill()
    process.wait()
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.run("sleep", "1.8")
    loaded.assert_nothing_left()


def test_signals_to_the_foreground_reach_the_container(loaded: World, runtime: str) -> None:
    script = "trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"
    process = loaded.spawn("podling", *run_options(runtime), "--rm", "bb", "sh", "-c", script, stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"usr1\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"term\n"
    process.stdout.close()
    assert process.wait(10) == 3
    loaded.assert_nothing_left()


def test_runtime_that_works_on_this_host_is_chosen(host_like_world: World, busybox: Path) -> None:
    host_like_world.run("podling", "load", "-i", str(busybox))
    assert host_like_world.run("podling", "run", "--rm", "--network", "none", "bb", "echo", "hello").stdout == "hello\n"
    host_like_world.assert_nothing_left()


def test_long_roots_have_room(loaded: World, busybox: Path) -> None:
    """A socket's path may have 107 bytes; where the engine keeps its things may not."""
    deep = "/run/" + "/".join(["a" * 60] * 3)
    roots = ("--root", f"{deep}/root", "--runroot", f"{deep}/run")
    loaded.run("podling", *roots, "load", "-i", str(busybox))
    done = loaded.run("podling", *roots, "run", "--rm", "-i", "--network", "none", "bb", "cat", stdin=b"through\n")
    assert done.stdout == "through\n"


def test_output_of_a_container_that_ends_at_once_is_whole(loaded: World, runtime: str) -> None:
    script = "head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2"
    done = loaded.run("podling", *run_options(runtime), "--rm", "bb", "sh", "-c", script)
    assert (len(done.stdout), len(done.stderr)) == (3000000, 2000000)


def test_exec_runs_many_at_once(loaded: World, runtime: str) -> None:
    loaded.run("podling", *run_options(runtime), "-d", "--name", "c", "bb", *LONG)
    running = [loaded.spawn("podling", "exec", "c", "sh", "-c", f"exit {number}") for number in range(12)]
    assert [process.wait(60) for process in running] == list(range(12))
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_descriptors_do_not_reach_the_container(loaded: World, runtime: str) -> None:
    assert loaded.run("podling", *run_options(runtime), "--rm", "bb", "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
    loaded.run("podling", *run_options(runtime), "-d", "--name", "c", "bb", *LONG)
    assert loaded.run("podling", "exec", "c", "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
    loaded.run("podling", "rm", "-f", "-t0", "c")


def test_environment_of_the_monitor_is_small(loaded: World) -> None:
    loaded.run("podling", *run_options("crun"), "-d", "--name", "c", "bb", *LONG, env={"SECRET": "mine"})
    pid = loaded.run("podling", "inspect", "--format", "{{.State.ConmonPid}}", "c").stdout.strip()
    names = {line.partition("=")[0] for line in loaded.run("cat", f"/proc/{pid}/environ").stdout.split("\0") if line}
    assert "SECRET" not in names
    assert "PATH" in names
    loaded.run("podling", "rm", "-f", "-t0", "c")




def _run_twice_in_one_process() -> str:
    from podling.engine import attach
    from podling.engine.engine import open_engine
    from podling.engine.globals import GlobalOptions
    from podling.engine.options import RunOptions

    engine = open_engine(GlobalOptions())
    container = engine.containers.find("c")
    codes = [attach.run(engine, container, RunOptions()) for _ in range(2)]
    deadline = time.monotonic() + 5
    while subprocess.run(["pgrep", "conmon"], capture_output=True, check=False).stdout and time.monotonic() < deadline:
        time.sleep(0.05)
    left = subprocess.run(["pgrep", "-la", "conmon|flock"], capture_output=True, text=True, check=False).stdout
    return f"{codes} {left}"


def test_monitors_end_although_the_process_that_attended_lives_on(loaded: World) -> None:
    loaded.run("podling", "create", "--name", "c", "--network", "none", "bb", "sh", "-c", "exit 3")
    assert loaded.call(_run_twice_in_one_process).strip() == "[3, 3]"
    loaded.run("podling", "rm", "c")
    loaded.assert_nothing_left()
