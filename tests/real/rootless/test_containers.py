"""Containers of an ordinary user, on both runtimes, without sudo and without a daemon."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

from tests.support.users import FIRST, HOLDER, HOME, SIZE, UID

if TYPE_CHECKING:
    from tests.support.users import User

NONE = ("--network", "none")


def test_life_of_a_container(user: User, runtime: str) -> None:
    container_id = user.podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, "bb", "sh", "-c",
                                "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done").strip()
    user.world.wait_until(lambda: user.podling("logs", "c") == "ready\n", "the log")
    assert user.podling("ps", "--format", "{{.Names}} {{.Image}}") == "c localhost/bb:latest\n"
    assert user.podling("exec", "c", "id", "-u") == "0\n"
    assert user.podling("exec", "c", "cat", "/proc/1/uid_map").split() == ["0", str(UID), "1", "1", str(FIRST), str(SIZE)]
    rows = user.podling("top", "c", "pid", "args").splitlines()
    assert rows[1].startswith("1")
    assert "ready" in rows[1]
    assert len(rows) <= 3, "only the container's own processes"
    state = json.loads(user.podling("inspect", "c"))[0]
    assert (state["Id"], state["State"]["Running"], state["HostConfig"]["NetworkMode"]) == (container_id, True, "none")
    user.podling("stop", "c")
    assert user.podling("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c") == "exited 3\n"
    user.podling("start", "c")
    user.podling("restart", "-t", "0", "c")
    user.podling("kill", "c")
    user.podling("wait", "c")
    user.podling("rm", "-f", "c")
    user.assert_nothing_left()


def test_run_gives_output_exit_codes_and_errors(user: User, runtime: str) -> None:
    run = ("--runtime", runtime, "run", "--rm", *NONE)
    assert user.podling(*run, "bb", "echo", "hello") == "hello\n"
    assert user.podling(*run, "-i", "bb", "cat", stdin=b"in") == "in"
    user.podling(*run, "bb", "sh", "-c", "exit 7", status=7)
    user.podling(*run, "bb", "no-such-program", status=127)
    user.podling(*run, "bb", "/etc", status=126)
    assert "uplink0" not in user.podling(*run, "bb", "cat", "/proc/net/dev")
    assert "uplink0" in user.podling("--runtime", runtime, "run", "--rm", "--network", "host", "bb", "cat", "/proc/net/dev")
    assert user.podling(*run, "--user", "1000:1000", "bb", "id", "-u") == "1000\n"
    assert user.podling(*run, "--read-only", "--privileged", "bb", "sh", "-c", "touch /x", status=1)
    assert user.podling(*run, "--sysctl", "net.ipv4.ip_forward=1", "bb", "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert user.podling(*run, "--ulimit", "nofile=100:200", "bb", "sh", "-c", "ulimit -n") == "100\n"
    assert user.podling(*run, "--oom-score-adj", "-500", "bb", "cat", "/proc/self/oom_score_adj") == "0\n"
    assert user.podling(*run, "--device", "/dev/fuse", "bb", "ls", "/dev/fuse") == "/dev/fuse\n"
    user.assert_nothing_left()


def test_limits_are_refused_on_cgroup_v1(user: User) -> None:
    for flags in (("-m", "64m"), ("--cpus", "0.5"), ("--pids-limit", "50"), ("--cpuset-cpus", "0")):
        said = user.podling("run", "--rm", *NONE, *flags, "bb", "true", status=125)
        assert "resource limits are not supported on cgroups V1 rootless systems" in said
        assert "unified_cgroup_hierarchy" in said
    assert user.podling("ps", "-aq") == ""


def test_files_of_volumes_and_of_the_user(user: User, runtime: str) -> None:
    home = user.world.path(HOME)
    (home / "data").mkdir()
    os.chown(home / "data", UID, UID)
    run = ("--runtime", runtime, "run", "--rm", *NONE)
    user.podling(*run, "-v", f"{HOME}/data:/data", "bb", "sh", "-c", "echo mine >/data/f; chown 5:5 /data/f")
    assert (home / "data/f").stat().st_uid == FIRST + 4
    user.podling(*run, "-v", "./data:/data:ro", "bb", "sh", "-c", "cat /data/f && ! touch /data/g", cwd=HOME)
    user.podling(*run, "-v", "vol:/v", "bb", "sh", "-c", "echo kept >/v/f")
    assert user.podling(*run, "-v", "vol:/v:ro", "bb", "cat", "/v/f") == "kept\n"
    assert user.podling("volume", "ls", "-q") == "vol\n"
    user.podling("volume", "rm", "vol")
    user.podling("unshare", "rm", "-r", f"{HOME}/data")
    user.assert_nothing_left()


def test_deleted_files_stay_deleted(user: User) -> None:
    user.podling("run", "--name", "c", *NONE, "bb", "sh", "-c", "rm -r /var /etc/group; mkdir /var; touch /var/new")
    user.podling("start", "-a", "c")
    said = user.podling("unshare", "sh", "-c", f"cd {HOME}/.local/share/containers/podling/containers/*/upper; "
                                               "stat -c %F etc/group; getfattr -n user.overlay.opaque --only-values var")
    assert said == "character special file\ny"
    user.podling("rm", "c")


def test_privileged_port_is_refused_with_the_setting(user: User) -> None:
    said = user.podling("run", "--rm", "--network", "bridge", "-p", "80:80", "bb", "true", status=126)
    # Podman's words
    assert said.startswith("Error: rootlessport cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80' "
                           "to /etc/sysctl.conf (currently 1024), or choose a larger port number (>= 1024): listen tcp 0.0.0.0:80: "
                           "bind: permission denied\n")
    assert user.podling("ps", "-aq") == ""


def test_info_tells_of_the_user(user: User) -> None:
    info = json.loads(user.podling("info", "--format", "json"))
    assert info["host"]["security"]["rootless"] is True
    assert info["host"]["idMappings"]["uidmap"] == [{"container_id": 0, "host_id": UID, "size": 1},
                                                    {"container_id": 1, "host_id": FIRST, "size": SIZE}]
    assert info["host"]["rootlessNetworkCmd"] == "slirp4netns"
    assert (info["store"]["graphDriverName"], info["store"]["graphStatus"]["Native Overlay Diff"]) == ("overlay", "true")
    assert info["store"]["graphRoot"] == f"{HOME}/.local/share/containers/podling"
    assert info["store"]["runRoot"] == f"/run/user/{UID}/containers/podling"


def test_killed_commands_leave_nothing_that_the_next_does_not_repair(user: User) -> None:
    for after in (0.03, 0.06, 0.1, 0.15, 0.2):
        command = user.spawn("podling", "run", "--name", "k", *NONE, "bb", "sleep", "100")
        time.sleep(after)
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
        user.podling("rm", "-f", "--ignore", "k")
        assert user.podling("run", "--rm", *NONE, "bb", "echo", "on") == "on\n"
    assert len(user.holders()) == 1, HOLDER
    user.assert_nothing_left(ignore=lambda kind, _: kind == "directory")


def test_directory_closed_to_the_images_user_is_explained(user: User) -> None:
    """Somebody who runs an image with a USER line sees only "permission denied" of some program in it."""
    user.run("mkdir", "-m", "700", "shut")
    said = user.podling("run", "--rm", *NONE, "--user", "1000", "-v", "./shut:/d", "bb", "touch", "/d/f", status=1)
    assert (f"the container's user 1000:0 cannot write to {HOME}/shut, which is yours: --userns=keep-id:uid=1000,gid=0 "
            "lets it act as you") in said
    user.run("sh", "-c", "echo echo on >shut/script; chmod 755 shut/script")
    said = user.podling("run", "--rm", *NONE, "--user", "1000", "-v", "./shut:/d", "bb", "/d/script", status=1)
    assert "--userns=keep-id:uid=1000,gid=0" in said
    for flags in (("--user", "0"), ("--user", "1000", "--read-only")):
        said = user.podling("run", "--rm", *NONE, *flags, "-v", "./shut:/d:ro", "bb", "false", status=1)
        assert "lets it act" not in said
    user.run("rm", "-r", "shut")


def test_what_a_user_cannot_do_here_is_told(user: User) -> None:
    user.podling("run", "-d", "--name", "c", *NONE, "bb", "sleep", "100")
    assert "can not pause containers on rootless containers with cgroup V1" in user.podling("pause", "c", status=125)
    said = user.podling("mount", "c", status=125)
    assert said == 'Error: cannot run command "podling mount" in rootless mode, must execute `podling unshare` first\n'
    assert user.podling("unshare", "sh", "-c", "ls $(podling mount c)/bin/sh").endswith("/bin/sh\n")
    user.podling("unshare", "podling", "unmount", "c")
    user.podling("rm", "-f", "-t", "0", "c")
    user.assert_nothing_left()
