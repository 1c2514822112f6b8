"""Options that few need and that must work all the same, on both runtimes."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import PODLING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")


def test_accounts(podling: Callable[..., str]) -> None:
    shown = podling("run", "--rm", *NONE, "-u", "1234:5678", "--group-entry", "crew:x:$GID:$USERLIST", "--hostuser", "daemon",
                    "bb", "cat", "/etc/passwd", "/etc/group")
    assert "crew:x:5678:1234\n" in shown
    assert "1234:*:1234:5678:container user:/:/bin/sh\n" in shown
    assert "daemon:*:1:1:daemon:/:/bin/sh\n" in shown
    assert "unknown user no-such-one" in podling("run", "--rm", *NONE, "--hostuser", "no-such-one", "bb", "true", status=126)


def test_files_of_etc(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    base = tmp_path / "hosts"
    base.write_text("192.0.2.7 from.the.file\n")
    assert "192.0.2.7\tfrom.the.file" in podling("run", "--rm", "--hosts-file", str(base), "bb", "cat", "/etc/hosts")
    assert "cannot be set together" in podling("run", "--no-hosts", "--hosts-file", str(base), "bb", "true", status=125)
    assert podling("run", "--rm", *NONE, "--no-hostname", "bb", "sh", "-c", "cat /etc/hostname || true") == ""
    shown = podling("run", "--rm", *NONE, "--name", "rooted", "--chrootdirs", "/srv/root", "bb", "cat", "/srv/root/etc/hosts")
    assert "rooted" in shown
    world.assert_nothing_left()


def test_descriptors_reach_the_process(podling: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("handed on\n")
    fd = os.open(tmp_path / "text", os.O_RDONLY)
    os.dup2(fd, 97)
    try:
        def through(*argv: str, **options: object) -> str:
            os.lseek(97, 0, os.SEEK_SET)
            return podling(*argv, pass_fds=(97,), **options)

        assert through("run", "--rm", *NONE, "--preserve-fd", "97", "bb", "sh", "-c", "cat <&97") == "handed on\n"
        podling("run", "-d", "--name", "c", *NONE, "bb", "sleep", "1000")
        assert through("exec", "--preserve-fd", "97", "c", "sh", "-c", "cat <&97") == "handed on\n"
        assert "file descriptor 98 is not available" in through("exec", "--preserve-fd", "98", "c", "true", status=125)
    finally:
        os.close(97)
        os.close(fd)


def test_preserve_fds_counts_from_three(world: World, podling: Callable[..., str]) -> None:
    podling("run", "-d", "--name", "c", *NONE, "bb", "sleep", "1000")
    for command in ("run --rm --network none --preserve-fds 2 bb", "exec --preserve-fds 2 c"):
        line = f'{PODLING} {command} sh -c "cat <&3; cat <&4" 3<<A 4<<B\nthree\nA\nfour\nB\n'
        assert world.run("sh", "-c", line).stdout == "three\nfour\n"


def test_required_containers_start_first(podling: Callable[..., str]) -> None:
    podling("create", "--name", "first", *NONE, "bb", "sleep", "1000")
    podling("create", "--name", "second", *NONE, "--requires", "first", "bb", "sleep", "1000")
    podling("start", "second")
    assert podling("inspect", "-f", "{{.State.Running}}", "first") == "true\n"
    assert podling("inspect", "-f", "{{len .Dependencies}}", "second") == "1\n"
    assert "has dependent containers" in podling("rm", "-f", "first", status=125)


@pytest.mark.parametrize("runtime", ["crun"], indirect=True)
def test_personality(podling: Callable[..., str]) -> None:
    assert podling("run", "--rm", *NONE, "--personality", "LINUX32", "bb", "uname", "-m") == "i686\n"
    assert "unknown personality X" in podling("run", "--rm", *NONE, "--personality", "X", "bb", "true", status=125)


def test_an_image_brings_its_system_call_filter(podling: Callable[..., str]) -> None:
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW",
                          "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]})
    label = ("--label", f"io.containers.seccomp.profile={profile}")
    command = ("bb", "sh", "-c", "mkdir /new 2>&1; true")
    assert "not permitted" in podling("run", "--rm", *NONE, *label, "--seccomp-policy", "image", *command)
    assert podling("run", "--rm", *NONE, *label, *command) == ""


def test_systemd_mode_bounds_its_file_systems(podling: Callable[..., str]) -> None:
    shown = podling("run", "--rm", *NONE, "--systemd", "always", "--shm-size-systemd", "2m", "bb", "df", "-k", "/run")
    assert " 2048 " in shown


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    """Where a service manager would listen."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(10)
    return listening


def test_conmon_tells_the_service_manager(podling: Callable[..., str], manager: socket.socket) -> None:
    env = {"NOTIFY_SOCKET": manager.getsockname()}
    podling("run", "-d", "--name", "c", *NONE, "--sdnotify", "conmon", "bb", "sleep", "1000", env=env)
    conmon = podling("inspect", "-f", "{{.State.ConmonPid}}", "c").strip()
    assert manager.recv(4096).decode() == f"MAINPID={conmon}\nREADY=1"
    podling("run", "--rm", *NONE, "--sdnotify", "ignore", "bb", "sh", "-c", "test -z $NOTIFY_SOCKET", env=env)
    manager.settimeout(0.2)
    with pytest.raises(TimeoutError):
        manager.recv(4096)


def test_the_container_tells_the_service_manager(world: World, podling: Callable[..., str], manager: socket.socket) -> None:
    podling("run", "-d", "--name", "c", *NONE, "bb", "sleep", "1000", env={"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(4096).decode().startswith("MAINPID=")
    pid = podling("inspect", "-f", "{{.State.Pid}}", "c").strip()
    variables = world.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
    inside = next(line.partition("=")[2] for line in variables if line.startswith("NOTIFY_SOCKET="))

    def ready() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", f"/proc/{pid}/root{inside}")

    world.call(ready)
    assert manager.recv(4096).decode().strip() == "READY=1"


def test_exec_waits_for_the_start(world: World, podling: Callable[..., str], runtime: str) -> None:
    waiting = world.spawn("podling", "--runtime", runtime, "exec", "--wait", "20", "late", "true")
    podling("run", "-d", "--name", "late", *NONE, "bb", "sleep", "1000")
    assert waiting.wait(20) == 0
    assert "timed out waiting for container: never" in podling("exec", "--wait", "1", "never", "true", status=125)


def test_commit_takes_a_configuration(podling: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps({"Cmd": ["echo", "said"], "Labels": {"b": "2"}, "User": "7"}))
    podling("create", "--name", "c", *NONE, "--label", "a=1", "bb", "true")
    podling("commit", "-q", "--config", str(tmp_path / "config"), "c", "made")
    assert podling("run", "--rm", *NONE, "made") == "said\n"
    assert podling("image", "inspect", "-f", "{{.User}} {{.Labels.a}} {{.Labels.b}}", "made") == "7 1 2\n"
    (tmp_path / "config").write_text('{"Cmd": "echo"}')
    assert "Cmd is of the wrong type" in podling("commit", "-q", "--config", str(tmp_path / "config"), "c", "made", status=125)


def test_cleanup_removes_what_it_is_told_to(world: World, podling: Callable[..., str]) -> None:
    podling("tag", "bb", "only-mine")
    podling("run", "--name", "c", *NONE, "only-mine", "true")
    podling("container", "cleanup", "--rm", "c")
    assert podling("ps", "-aq") == ""
    podling("system", "prune", "--external")
    assert "cannot be combined" in podling("system", "prune", "--external", "--all", status=125)
    world.assert_nothing_left()


def test_what_matches_a_glob_is_mounted(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    for name in ("a1", "a2", ".a3", "b"):
        (tmp_path / name).write_text(name)
    glob = f"type=glob,src={tmp_path}/*a*"
    assert podling("run", "--rm", *NONE, "--mount", f"{glob},dst=/in,ro", "bb", "sh", "-c", "cd /in; cat a1 a2 .a3; ls -A") == (
        "a1a2.a3.a3\na1\na2\n")
    assert podling("run", "--rm", *NONE, "--mount", f"{glob}", "bb", "ls", "-A", str(tmp_path)) == ".a3\na1\na2\n"
    assert f'no file paths matching glob "{tmp_path}/c*"' in podling(
        "create", "--mount", f"type=glob,src={tmp_path}/c*,dst=/in", "bb", status=125)
    assert "/in/a1: duplicate mount destination" in podling(
        "create", "--mount", f"{glob},dst=/in", "-v", f"{tmp_path}/b:/in/a1", "bb", status=125)
    assert podling("ps", "-aq") == ""


def test_a_part_of_an_image_is_mounted(world: World, podling: Callable[..., str]) -> None:
    assert podling("run", "--rm", *NONE, "--mount", "type=image,src=bb,dst=/img,subpath=/etc", "bb", "ls", "/img") == "group\npasswd\n"
    world.assert_nothing_left()


def test_containers_are_privileged_where_the_configuration_says_so(podling: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "conf").write_text('[containers]\nprivileged = true\n')
    env = {"CONTAINERS_CONF": str(tmp_path / "conf")}
    filtered = ("bb", "grep", "Seccomp:", "/proc/self/status")
    assert podling("run", "--rm", *NONE, *filtered, env=env).split() == ["Seccomp:", "0"]
    assert podling("run", "--rm", *NONE, "--privileged=false", *filtered, env=env).split() == ["Seccomp:", "2"]


def test_a_driver_without_a_log_needs_no_tag(podling: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "conf").write_text('[containers]\nlog_tag = "web"\n')
    assert podling("run", "--rm", *NONE, "--log-driver", "none", "bb", "echo", "hi", env={"CONTAINERS_CONF": str(tmp_path / "conf")}) == (
        "hi\n")
    assert "has no tags" in podling("run", "--rm", *NONE, "--log-opt", "tag=web", "bb", "true", status=126)
