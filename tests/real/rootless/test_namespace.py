"""The user's namespaces: entered, held, lost, and found again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.meta.test_structure import FORBIDDEN, SOURCE
from tests.support.users import FIRST, HOME, RUNTIME_DIRECTORY, SIZE, UID, User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")
PID_FILE = f"{RUNTIME_DIRECTORY}/containers/podling/userns.pid"
SAID_ONCE = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester"


def kill_holder(user: User) -> int:
    """Kill the one process that holds the namespaces; its pid."""
    holder, = user.holders()
    os.kill(holder, signal.SIGKILL)
    user.world.wait_until(lambda: not user.holders(), "the holder ends")
    return holder


def test_holder_is_small_and_keeps_nothing_open(user: User) -> None:
    user.podling("ps")
    holder, = user.holders()
    assert {os.readlink(f"/proc/{holder}/fd/{name}") for name in os.listdir(f"/proc/{holder}/fd")} == {"/dev/null"}
    assert os.readlink(f"/proc/{holder}/cwd") == "/"
    with open(f"/proc/{holder}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    assert int(fields["RssAnon"].split()[0]) < 300
    for _ in range(3):
        user.podling("ps")
    assert user.holders() == [holder]


def test_command_stays_where_it_was_called(user: User) -> None:
    assert user.podling("unshare", "pwd", cwd=HOME) == f"{HOME}\n"
    assert user.podling("unshare", "pwd", cwd="/usr") == "/usr\n"
    user.world.run("mkdir", "-p", "-m", "700", "/run/roots")
    assert user.podling("unshare", "pwd", cwd="/run/roots") == "/\n"
    hidden = f"{RUNTIME_DIRECTORY}/gone"
    done = user.run("sh", "-c", f"mkdir {hidden}; cd {hidden}; rmdir {hidden}; podling ps -q", check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_dead_holder_is_replaced_without_containers(user: User) -> None:
    user.podling("ps")
    first = kill_holder(user)
    assert user.podling("run", "--rm", *NONE, "bb", "echo", "on") == "on\n"
    assert user.holders() != [first]
    user.assert_nothing_left()


def test_dead_holder_is_replaced_beside_running_containers(user: User, runtime: str) -> None:
    user.podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, "bb", "sh", "-c", "echo here >/f; sleep 100")
    before = os.readlink(f"/proc/{user.holders()[0]}/ns/user")
    kill_holder(user)
    assert user.podling("exec", "c", "cat", "/f") == "here\n"
    assert [os.readlink(f"/proc/{pid}/ns/user") for pid in user.holders()] == [before]
    user.podling("restart", "-t", "0", "c")
    user.podling("rm", "-f", "-t", "0", "c")
    user.assert_nothing_left()


@pytest.mark.parametrize("content", ["", "nonsense", "1 1\n", "999999999 5\n", "-4 7\n", "{own} 12345\n", "12 " + "9" * 90])
def test_stale_pid_file_stops_nothing(user: User, content: str) -> None:
    user.podling("ps")
    holder, = user.holders()
    user.world.path(PID_FILE).write_text(content.format(own=holder), encoding="ascii")
    assert user.podling("run", "--rm", *NONE, "bb", "echo", "on") == "on\n"
    for pid in user.holders():                   # the one that the file no longer named
        if pid == holder:
            os.kill(pid, signal.SIGKILL)
    user.assert_nothing_left()


def test_namespace_of_somebody_else_is_not_entered(user: User) -> None:
    """A file that names a process of root's with its true start time."""
    user.podling("ps")
    other = user.world.spawn("unshare", "--user", "--map-root-user", "sleep", "100")
    user.world.wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/user") != os.readlink("/proc/self/ns/user"), "its namespace")
    inside = user.world.run("pgrep", "-n", "sleep").stdout.strip()
    start = user.world.run("sh", "-c", f"cut -d' ' -f22 /proc/{inside}/stat").stdout.strip()
    kill_holder(user)
    user.world.path(PID_FILE).write_text(f"{inside} {start}\n", encoding="ascii")
    assert user.podling("unshare", "cat", "/proc/self/uid_map").split()[1] == str(UID)
    other.kill()
    other.wait()


def test_many_first_commands_make_one_namespace(fresh_user: User) -> None:
    kill_holder(fresh_user)
    commands = [fresh_user.spawn("podling", "unshare", "readlink", "/proc/self/ns/user", stdout=-1) for _ in range(8)]
    assert len({command.communicate(timeout=60)[0] for command in commands}) == 1
    assert len(fresh_user.holders()) == 1


def test_reboot(fresh_user: User) -> None:
    # The world has another boot id by a mount below /proc, and where /proc is not all to be seen no new one can be mounted.
    fresh_user.podling("run", "-d", "--name", "c", "--pid", "host", *NONE, "bb", "sh", "-c", "sleep 100 & wait")
    fresh_user.world.reboot()
    fresh_user.log_in()
    assert fresh_user.podling("ps", "-a", "--format", "{{.Names}} {{.State}}") == "c exited\n"
    fresh_user.podling("start", "c")
    assert fresh_user.podling("exec", "c", "echo", "on") == "on\n"
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    fresh_user.assert_nothing_left()


def test_without_a_runtime_directory(fresh_user: User) -> None:
    fresh_user.world.run("rm", "-rf", RUNTIME_DIRECTORY)
    env = {"XDG_RUNTIME_DIR": "/run/user/0"}     # as `su` leaves it
    try:
        assert fresh_user.podling("run", "--rm", *NONE, "bb", "echo", "on", env=env) == "on\n"
        assert fresh_user.podling("info", "--format", "{{.Store.RunRoot}}", env=env) == f"/tmp/podling-run-{UID}/containers/podling\n"
    finally:
        fresh_user.world.run("rm", "-rf", f"/tmp/podling-run-{UID}")


def test_directory_of_somebody_else_in_tmp_is_refused(fresh_user: User) -> None:
    fresh_user.world.run("rm", "-rf", RUNTIME_DIRECTORY)
    fresh_user.world.run("mkdir", f"/tmp/podling-run-{UID}")
    try:
        said = fresh_user.podling("ps", status=125, env={"XDG_RUNTIME_DIR": ""})
        assert f"/tmp/podling-run-{UID} is not a private directory of user tester" in said
    finally:
        fresh_user.world.run("rmdir", f"/tmp/podling-run-{UID}")


def test_one_id_where_there_are_no_ranges(world: World, busybox: Path, runtime: str) -> None:
    user = User(world, ranges=False)
    said = user.run("podling", "load", "-q", stdin=busybox.read_bytes())
    assert said.stdout == "Loaded image: localhost/bb:latest\n"
    assert said.stderr.count(SAID_ONCE) == 1
    done = user.run("podling", "--runtime", runtime, "run", "--rm", *NONE, "bb", "sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin")
    assert done.stdout.split() == ["0", str(UID), "1", "0"]
    assert done.stderr == ""
    user.podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, "bb", "sleep", "100")
    assert user.podling("exec", "c", "id", "-u") == "0\n"
    for flags in ((), ("-v", "vol:/v")):
        refused = user.podling("--runtime", runtime, "run", "--rm", *NONE, "--user", "1000:5", *flags, "bb", "id", status=126)
        assert "the container's user 1000:5 does not exist in your user namespace, which has 1 uids" in refused
    user.podling("volume", "rm", "vol")
    assert json.loads(user.podling("info", "--format", "json"))["host"]["idMappings"]["uidmap"] == [
        {"container_id": 0, "host_id": UID, "size": 1}]
    user.podling("rm", "-f", "-t", "0", "c")
    user.assert_nothing_left()
    user.give_ranges()                           # and what the message says to do then
    user.podling("system", "migrate")
    assert user.podling("unshare", "cat", "/proc/self/uid_map").split() == ["0", str(UID), "1", "1", str(FIRST), str(SIZE)]


def test_ranges_that_overlap_are_told(world: World) -> None:
    user = User(world, ranges=False)
    world.run("sh", "-c", "for name in subuid subgid; do printf 'tester:100000:65536\\ntester:100000:65536\\n' >>/etc/$name; done")
    said = user.podling("ps", status=125)
    assert 'cannot set up namespace using' in said
    assert "must not overlap" in said
    assert user.holders() == []


def test_system_migrate_stops_containers_and_takes_new_ranges(fresh_user: User) -> None:
    container_id = fresh_user.podling("run", "-d", "--name", "c", "--stop-timeout", "0", *NONE, "bb", "sleep", "100").strip()
    assert fresh_user.podling("system", "migrate", "--new-runtime", "runc") == f"stopped {container_id}\n"
    fresh_user.world.wait_until(lambda: not fresh_user.holders(), "the holder ends")
    fresh_user.podling("start", "c")
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    fresh_user.assert_nothing_left()


def test_system_reset_asks_and_leaves_nothing(fresh_user: User) -> None:
    graphroot = fresh_user.world.path(f"{HOME}/.local/share/containers/podling")
    fresh_user.podling("run", "-d", "--name", "c", "-v", "vol:/v", *NONE, "bb", "sleep", "100")
    said = fresh_user.podling("system", "reset", stdin=b"n\n")
    assert f'- the graphRoot directory: "{HOME}/.local/share/containers/podling"' in said
    assert fresh_user.podling("ps", "-q") != ""
    fresh_user.podling("system", "reset", "--force")
    assert not graphroot.exists()
    assert not fresh_user.world.path(f"{RUNTIME_DIRECTORY}/containers/podling").exists()
    fresh_user.world.wait_until(lambda: not fresh_user.world.processes(), f"the end of {fresh_user.world.observe()['process']}")
    assert fresh_user.podling("ps", "-aq") + fresh_user.podling("images", "-q") + fresh_user.podling("volume", "ls", "-q") == ""


def test_unshare(user: User) -> None:
    assert user.podling("unshare", "id", "-u") == "0\n"
    assert user.podling("unshare", "sh", "-c", "podling unshare id -u; podling info --format '{{.Host.Security.Rootless}}'") == "0\ntrue\n"
    user.podling("unshare", "sh", "-c", "exit 7", status=7)
    assert 'exec: "no-such": executable file not found in $PATH' in user.podling("unshare", "no-such", status=127)
    assert user.podling("unshare", env={"SHELL": "/usr/bin/id"}).startswith("uid=0(root)")
    done = user.world.run("podling", "unshare", "id", check=False)
    assert (done.returncode, done.stderr) == (125, "Error: please use unshare with rootless\n")


def test_unshare_in_the_network_namespace_of_bridges(fresh_user: User) -> None:
    assert "tap0" in fresh_user.podling("unshare", "--rootless-netns", "ls", "/sys/class/net", "/proc/sys/net/ipv4/conf")
    fresh_user.podling("unshare", "--rootless-netns", "sh", "-c", "exit 7", status=7)
    fresh_user.podling("unshare", "--rootless-netns", "sh", "-c", "kill -9 $$", status=137)
    fresh_user.assert_nothing_left()


def test_killed_first_commands_leave_a_way(fresh_user: User) -> None:
    for delay in range(20, 45, 4):
        kill_holder(fresh_user)
        first = fresh_user.spawn("podling", "ps")
        time.sleep(delay / 1000)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert fresh_user.podling("run", "--rm", *NONE, "bb", "echo", "on") == "on\n"
        assert len(fresh_user.holders()) == 1
    fresh_user.assert_nothing_left()


def test_frequent_commands_load_little(fresh_user: User) -> None:
    command = (sys.executable, "-I", "-S", "-X", "importtime", str(SOURCE / "__main__.py"))
    for argv in (("run", "-d", "--name", "c", *NONE, "bb", "sleep", "100"), ("ps",), ("exec", "c", "true"), ("stop", "-t", "0", "c"),
                 ("start", "c"), ("rm", "-f", "c")):
        said = fresh_user.run(*command, *argv).stderr
        loaded = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
        assert "podling.linux.rootless" in loaded, argv
        assert not loaded & FORBIDDEN, argv
    fresh_user.assert_nothing_left()


def test_one_id_where_newuidmap_is_missing(world: World) -> None:
    user = User(world)
    world.run("mount", "--bind", "/dev/null", "/usr/bin/newuidmap")
    said = user.run("podling", "unshare", "cat", "/proc/self/uid_map")
    assert said.stdout.split() == ["0", str(UID), "1"]
    assert "newuidmap and newgidmap are not installed" in said.stderr
    assert user.run("podling", "ps").stderr == ""


def test_newuidmap_without_its_right_is_told(world: World) -> None:
    user = User(world)
    world.run("sh", "-ec", "cp /usr/bin/newuidmap /run/newuidmap; chmod 755 /run/newuidmap; mount --bind /run/newuidmap /usr/bin/newuidmap")
    said = user.podling("ps", status=125)
    assert "cannot set up namespace using '/usr/bin/newuidmap'" in said
    assert "setuid root" in said
    assert user.holders() == []


def test_within_podman_unshare(user: User) -> None:
    """The two engines know each other's marks, and neither enters a second namespace."""
    asks = "readlink /proc/self/ns/user"
    before = set(user.world.processes())
    said = user.run("podman", "unshare", "sh", "-c", f"{asks}; podling unshare {asks}").stdout.split()
    assert len(set(said)) == 1
    said = user.podling("unshare", "sh", "-c", f"{asks}; podman unshare {asks}").split()
    assert len(set(said)) == 1
    for pid in set(user.world.processes()) - before - set(user.holders()):       # Podman's own holder
        os.kill(pid, signal.SIGKILL)


def test_holder_and_monitors_killed_together(fresh_user: User, runtime: str) -> None:
    """Only the containers' processes are left of the namespace: it is made anew, and they can still be ended."""
    fresh_user.podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, "bb", "sleep", "100")
    monitor = int(fresh_user.podling("inspect", "--format", "{{.State.ConmonPid}}", "c"))
    kill_holder(fresh_user)
    fresh_user.world.run("kill", "-9", str(monitor))
    assert fresh_user.podling("run", "--rm", *NONE, "bb", "echo", "on") == "on\n"
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    fresh_user.podling("run", "-d", "--name", "c", *NONE, "bb", "sleep", "100")
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    fresh_user.assert_nothing_left()
