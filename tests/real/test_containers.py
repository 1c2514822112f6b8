"""Containers from beginning to end, on both runtimes: the session of a newcomer, limits, signals, restarts, many at once."""

from __future__ import annotations

import json
import os
import pty
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = "mkdir -p /www; echo hello >/www/index.html; echo serving; exec httpd -f -p 80 -h /www"
OBEYS = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done"


def wait_for(world: World, podling: Callable[..., str], name: str, text: str) -> None:
    world.wait_until(lambda: text in podling("logs", name), f"{text!r} in the log of {name}")


def test_session_of_a_newcomer(world: World, podling: Callable[..., str]) -> None:
    container_id = podling("run", "--name", "web", "-d", "-p", "8080:80/tcp", "bb", "sh", "-c", SERVE).strip()
    assert len(container_id) == 64
    assert podling("ps", "--format", "{{.Names}} {{.Ports}}") == "web 0.0.0.0:8080->80/tcp\n"
    wait_for(world, podling, "web", "serving")
    state = json.loads(podling("inspect", "web"))[0]
    address = state["NetworkSettings"]["Networks"]["podman"]["IPAddress"]
    assert state["State"]["Running"] is True
    for url in ("http://localhost:8080", "http://198.51.100.2:8080", f"http://{address}"):
        assert world.run("curl", "-sS", url).stdout == "hello\n"
    assert "httpd" in podling("top", "web")
    assert podling("exec", "web", "cat", "/www/index.html") == "hello\n"
    assert podling("port", "web") == "80/tcp -> 0.0.0.0:8080\n"
    podling("stop", "web")
    assert world.run("curl", "-sS", "http://localhost:8080", check=False).returncode == 7
    podling("start", "web")
    world.wait_until(lambda: world.run("curl", "-s", "http://localhost:8080", check=False).stdout == "hello\n", "the page")
    podling("rm", "-f", "web")
    world.assert_nothing_left()


def test_exit_codes_are_podmans(podling: Callable[..., str]) -> None:
    podling("run", "--rm", "--network", "none", "bb", "sh", "-c", "exit 7", status=7)
    podling("run", "--rm", "--network", "none", "bb", "no-such-program", status=127)
    podling("run", "--rm", "--network", "none", "bb", "/etc", status=126)
    podling("run", "--rm", "--network", "none", "--no-such-flag", "bb", status=125)
    podling("run", "--rm", "--init", "--network", "none", "bb", "sh", "-c", "kill -9 $$", status=137)
    assert podling("ps", "-aq") == ""


def test_a_start_that_fails_while_the_network_is_made_ends_and_leaves_nothing(world: World, podling: Callable[..., str]) -> None:
    podling("run", "--rm", "bb", "no-such-program", status=127)
    podling("run", "--rm", "-u", "nobody-known", "bb", "true", status=126)
    assert podling("run", "--rm", "bb", "echo", "next") == "next\n"
    world.assert_nothing_left()


def test_what_is_written_over_an_overlay_is_thrown_away(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    bind = ("--network", "none", "-v", f"{tmp_path}:/x:O")
    said = podling("run", "--name", "o", *bind, "bb", "sh", "-c", "ls /x; echo new >/x/kept; touch /x/added; cat /x/kept")
    assert said == "kept\nnew\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "old")]
    assert podling("start", "-a", "o").startswith("kept\nnew")       # not "added": nothing is left of the first time
    podling("rm", "o")
    podling("run", "--rm", "--network", "none", "-v", f"{tmp_path}:/x:O,upperdir=/tmp/u,workdir=/tmp/w", "bb", "true", status=126)
    podling("run", "--rm", "--network", "none", "-v", "named:/x", "bb", "touch", "/x/first")
    assert podling("run", "--rm", "--network", "none", "-v", "named:/x:O", "bb", "sh", "-c", "rm /x/first; ls /x") == ""
    assert podling("run", "--rm", "--network", "none", "-v", "named:/x", "bb", "ls", "/x") == "first\n"
    podling("volume", "rm", "named")
    world.assert_nothing_left()


def test_stop_sends_the_signal_and_keeps_the_exit_code(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "--network", "none", "bb", "sh", "-c", OBEYS)
    wait_for(world, podling, "c", "ready")
    podling("stop", "c")
    assert podling("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c") == "exited 3\n"
    assert podling("logs", "c") == "ready\nbye\n"


def test_stop_kills_after_the_timeout(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "--network", "none", "bb", "sh", "-c", "trap '' TERM; echo ready; sleep 100")
    wait_for(world, podling, "c", "ready")
    begin = time.monotonic()
    podling("stop", "-t", "1", "c")
    assert 0.9 < time.monotonic() - begin < 9
    assert podling("inspect", "--format", "{{.State.ExitCode}}", "c") == "137\n"


def test_process_without_handler_is_not_waited_for(podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "--network", "none", "bb", "sleep", "100")
    begin = time.monotonic()
    podling("stop", "c")
    assert time.monotonic() - begin < 9                # not the ten seconds that it may take


def test_restart_policy_starts_again_until_it_is_stopped(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "--network", "none", "--restart", "on-failure:2", "bb", "sh", "-c", "echo try; exit 1")
    world.wait_until(lambda: podling("logs", "c").count("try") == 3, "three tries")
    world.wait_until(lambda: podling("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "c") == "exited 2\n", "the end")


def test_limits_reach_the_cgroup(podling: Callable[..., str]) -> None:
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max"
    text = podling("run", "--rm", "--network", "none", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "bb", "sh", "-c", read)
    assert text.split() == ["67108864", "50000", "50"]


def test_default_isolation_is_as_tight_as_podmans(world: World, podling: Callable[..., str]) -> None:
    script = "grep -E 'CapBnd|Seccomp:' /proc/self/status; cat /proc/kcore; ls /proc/acpi /sys/firmware; echo b >/proc/sysrq-trigger; true"
    text = podling("run", "--rm", "--network", "none", "bb", "sh", "-c", script)
    assert text == "CapBnd:\t00000000800405fb\nSeccomp:\t2\n/proc/acpi:\n\n/sys/firmware:\n"


def test_volumes_are_filled_and_shared(podling: Callable[..., str]) -> None:
    podling("run", "--rm", "--network", "none", "-v", "data:/etc", "bb", "sh", "-c", "echo new >/etc/added")
    assert podling("run", "--rm", "--network", "none", "-v", "data:/d:ro", "bb", "cat", "/d/passwd", "/d/added").endswith("new\n")
    assert podling("run", "--rm", "--network", "none", "-v", "data:/d:ro", "bb", "touch", "/d/x", status=1)
    podling("volume", "rm", "data")
    assert podling("volume", "ls", "-q") == ""


def test_input_and_output_pass_through(podling: Callable[..., str]) -> None:
    data = os.urandom(200_000).hex().encode()
    assert podling("run", "--rm", "-i", "--network", "none", "bb", "cat", stdin=data) == data.decode()
    podling("run", "-d", "--name", "c", "--network", "none", "bb", "sleep", "100")
    assert podling("exec", "-i", "c", "cat", stdin=data) == data.decode()


def test_log_size_is_bounded(world: World, podling: Callable[..., str]) -> None:
    podling("run", "--name", "c", "--network", "none", "--log-opt", "max-size=10k", "bb", "sh", "-c",
            "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
    path = podling("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", "c").strip()
    assert world.path(path).stat().st_size <= 10_240
    assert podling("logs", "--tail", "1", "c") == "line 1999\n"


def test_a_shared_network_namespace(podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "first", "bb", "sh", "-c", SERVE)
    text = podling("run", "--rm", "--network", "container:first", "bb", "wget", "-qO-", "http://127.0.0.1")
    assert text == "hello\n"
    podling("rm", "first", status=2)


def test_terminal_is_passed_on(world: World, busybox: Path) -> None:
    """``run -it``: a shell on a terminal, its size, its exit code; ``ctrl-p ctrl-q`` leaves it running."""
    world.run("podling", "load", "-q", "-i", str(busybox))
    ours, theirs = pty.openpty()
    process = world.spawn("podling", "run", "-it", "--name", "t", "--network", "none", "bb", "sh", stdin=theirs, stdout=theirs,
                          stderr=theirs, start_new_session=True)
    os.close(theirs)
    read_until(ours, b"# ")
    os.write(ours, b"test -t 0 && echo is-a-$((6*7))-tty\n")
    read_until(ours, b"is-a-42-tty")
    os.write(ours, b"\x10\x11")
    assert process.wait(10) == 0
    os.close(ours)
    assert world.run("podling", "ps", "--format", "{{.Names}}").stdout == "t\n"
    world.run("podling", "rm", "-f", "-t", "0", "t")


def read_until(fd: int, wanted: bytes, timeout: float = 10) -> bytes:
    """Everything that came from a terminal up to the wanted text."""
    text, deadline = b"", time.monotonic() + timeout
    while wanted not in text:
        assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], f"{wanted!r} did not come: {text!r}"
        text += os.read(fd, 4096)
    return text


def test_twenty_at_once(world: World, podling: Callable[..., str], runtime: str) -> None:
    """20 parallel ``run --rm`` on the bridge: all succeed with an address of their own, nothing is left."""
    import subprocess

    script = "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; sleep 1"
    running = [world.spawn("podling", "--runtime", runtime, "run", "--rm", "bb", "sh", "-c", script, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE) for _ in range(20)]
    answers = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, code in answers] == [0] * 20, answers
    addresses = [output for (output, _), _ in answers]
    assert all(address.startswith(b"inet 10.88.") for address in addresses)
    world.assert_nothing_left()


def test_reboot_leaves_containers_that_start(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "-p", "8080:80", "bb", "sh", "-c", SERVE)
    world.reboot()
    assert podling("ps", "-a", "--format", "{{.Names}} {{.State}}") == "c exited\n"
    podling("start", "c")
    world.wait_until(lambda: world.run("curl", "-s", "http://localhost:8080", check=False).stdout == "hello\n", "the page")
    podling("rm", "-f", "-t", "0", "c")
    world.assert_nothing_left(ignore=lambda kind, thing: kind == "cgroup" or thing.endswith("boot_id"))


def test_killed_monitor_is_noticed(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", "-p", "8080:80", "bb", "sh", "-c", SERVE)
    world.run("pkill", "-9", "conmon")
    assert podling("rm", "-f", "-t", "0", "c") == "c\n"
    world.assert_nothing_left()


def test_a_port_in_use_is_named_with_its_owner(podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "first", "-p", "8080:80", "bb", "sleep", "100")
    text = podling("run", "--rm", "-p", "8080:80", "bb", "true", status=126)
    assert "bind: address already in use" in text
    assert "container first has it" in text.lower()
    assert podling("ps", "-a", "--format", "{{.Names}}") == "first\n"


def test_isolation_that_is_not_there_is_not_promised(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    run = ("podling", "run", "--rm", "--network", "none")
    for words, env, said in (((), {"PODMAN_USERNS": "auto"}, 'no subuid ranges found for user "containers" in /etc/subuid'),
                             ((), {"PODMAN_USERNS": "private"}, "must provide at least one UID or GID mapping"),
                             (("--userns", "host"), {"PODMAN_USERNS": "auto"}, ""), ((), {"PODMAN_USERNS": "host"}, ""),
                             (("-v", f"{tmp_path}:/x:idmap"), {}, "the option idmap of the mount at /x"),
                             (("-v", "named:/x:idmap"), {}, "the option idmap of the mount at /x")):
        done = world.run(*run, *words, "bb", "true", check=False, env=env)
        assert (done.returncode, said in done.stderr) == (125 if said else 0, True), done.stderr
    assert podling("volume", "ls", "-q") == ""
