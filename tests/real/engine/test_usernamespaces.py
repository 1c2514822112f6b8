"""Root's containers with ids of their own: owners inside and on the host, networks, mounts, commands, and that nothing stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")
MAP = ("--uidmap", "0:70000:3000", "--gidmap", "0:80000:3000")
GRAPHROOT = "/var/lib/containers/podling"
SERVE = "mkdir /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w"
# A /dev/null of the world's own: crun 1.8 gives the device to the container's root.
_SUBIDS = """
mknod -m 666 /run/.null c 1 3; mount --bind /run/.null /dev/null
for name in subuid subgid; do
    cp /etc/$name /run/.$name; mount --bind /run/.$name /etc/$name; echo containers:1000000:5000 >>/etc/$name
done
"""
_WEB = "echo 'web:x:101:102::/home/web:/bin/sh' >>/etc/passwd; mkdir -p /home/web; echo w >/home/web/f; chown -R 101:102 /home/web"


@pytest.fixture(scope="module")
def podling(shared_world: World, busybox: Path) -> Callable[..., str]:
    """podling; the images bb and bbu, the second with a USER line, have a user web; the user containers has subordinate ids."""
    world = shared_world

    def run(*argv: str, status: int = 0, **options: object) -> str:
        done = world.run("podling", *argv, check=False, **options)  # type: ignore[arg-type]
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    world.run("sh", "-ec", _SUBIDS)
    run("load", "-q", "-i", str(busybox))
    run("run", "--name", "mk", *NONE, "bb", "sh", "-c", _WEB)
    run("commit", "-q", "mk", "bb")
    run("commit", "-q", "-c", "USER web", "mk", "bbu")
    run("rm", "mk")
    world.before = world.observe()
    return run


def owners(world: World, *paths: str) -> list[str]:
    return world.run("stat", "-c", "%u:%g", *paths).stdout.split()


def test_the_hosts_null_device_stays_the_hosts(shared_world: World, podling: Callable[..., str], runtime: str) -> None:
    for flags in ((), MAP):
        podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, *flags, "-u", "7", "bb", "sleep", "1000")
        assert owners(shared_world, "/dev/null") == ["0:0"]
        podling("exec", "-d", "-u", "9", "c", "sleep", "1000")
        assert owners(shared_world, "/dev/null") == ["0:0"]
        podling("rm", "-f", "-t", "0", "c")
    shared_world.assert_nothing_left()


def test_life_of_a_container(shared_world: World, podling: Callable[..., str], runtime: str) -> None:
    world = shared_world
    podling("--runtime", runtime, "run", "-d", "--name", "c", *MAP, "-p", "8080:80", "bb", "sh", "-c", SERVE)
    world.wait_until(lambda: world.run("curl", "-s", "http://127.0.0.1:8080", check=False).stdout == "hello\n", "the page")
    assert owners(world, "/dev/null") == ["0:0"]
    assert podling("exec", "c", "cat", "/proc/self/uid_map", "/proc/self/gid_map").split() == ["0", "70000", "3000", "0", "80000", "3000"]
    assert podling("exec", "c", "stat", "-c", "%u:%g", "/", "/home/web", "/home/web/f", "/dev/shm", "/etc/hosts", "/w").split() == [
        "0:0", "101:102", "101:102", "0:0", "0:0", "0:0"]
    assert podling("exec", "-u", "web", "c", "sh", "-c", "id -u; touch /dev/shm/mine; stat -c %u /dev/shm/mine") == "101\n101\n"
    place = podling("mount", "c").strip()
    assert owners(world, f"{place}/home/web", f"{place}/w") == ["70101:80102", "70000:80000"]
    podling("umount", "c")
    assert podling("top", "c", "user", "huser", "group", "hgroup").splitlines()[1].split() == ["root", "70000", "root", "80000"]
    found = json.loads(podling("inspect", "c"))[0]["HostConfig"]
    assert (found["UsernsMode"], found["IDMappings"]) == ("private", {"UidMap": ["0:70000:3000"], "GidMap": ["0:80000:3000"]})
    podling("restart", "-t", "0", "c")
    world.wait_until(lambda: world.run("curl", "-s", "http://127.0.0.1:8080", check=False).stdout == "hello\n", "the page")
    podling("stop", "-t", "0", "c")
    podling("start", "c")
    podling("rm", "-f", "-t", "0", "c")
    world.assert_nothing_left()


def test_network_belongs_to_the_container(podling: Callable[..., str], runtime: str) -> None:
    """Its root may configure interfaces, which the owner of the network namespace alone may."""
    run = ("--runtime", runtime, "run", "--rm", *MAP)
    assert podling(*run, "--cap-add", "net_admin", "bb", "sh", "-c", "ip link set eth0 mtu 1400 && cat /sys/class/net/eth0/mtu") == "1400\n"
    assert podling(*run, *NONE, "--sysctl", "net.ipv4.ip_forward=1", "bb", "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert "uplink0" in podling(*run, "--network", "host", "bb", "ls", "/sys/class/net")


def test_what_leaves_the_container_has_its_owners(shared_world: World, podling: Callable[..., str]) -> None:
    world = shared_world
    podling("run", "-d", "--name", "c", *MAP, *NONE, "bb", "sleep", "1000")
    podling("exec", "c", "sh", "-c", "echo x >/x; chown 5:6 /x; rm /etc/group; chown 7 /home")
    podling("commit", "-q", "c", "made")
    podling("commit", "-q", "--squash", "c", "flat")
    for image in ("made", "flat"):
        said = podling("run", "--rm", *NONE, image, "sh", "-c", "stat -c %u:%g /x /home /home/web; test ! -e /etc/group")
        assert said.split() == ["5:6", "7:0", "101:102"], image
    podling("export", "-o", "/run/c.tar", "c")
    listing = world.run("tar", "-tvnf", "/run/c.tar").stdout
    assert {line.split()[1] for line in listing.splitlines()} == {"0/0", "5/6", "7/0", "101/102"}
    for state in ("running", "stopped"):
        if state == "stopped":
            podling("stop", "-t", "0", "c")
        podling("cp", "c:/x", "/run/x")
        podling("cp", "-a=false", "c:/x", "/run/kept")
        assert owners(world, "/run/x", "/run/kept") == ["0:0", "5:6"]
        podling("cp", "/run/x", f"c:/{state}")
        podling("cp", "-a=false", "/run/kept", f"c:/{state}-kept")
        archive = world.run("tar", "-C", "/run", "-cf", "-", "kept").stdout.encode()
        podling("cp", "-", "c:/home", stdin=archive)
    podling("start", "c")
    assert podling("exec", "c", "stat", "-c", "%u:%g", "/running", "/stopped", "/running-kept", "/stopped-kept", "/home/kept").split() == [
        "0:0", "0:0", "5:6", "5:6", "5:6"]
    assert "C /home" in podling("diff", "c", "bb")
    assert "/bin" not in podling("diff", "c", "bb")
    podling("rm", "-f", "-t", "0", "c")
    podling("rmi", "made", "flat")
    world.assert_nothing_left()


def test_auto_containers_never_overlap(shared_world: World, podling: Callable[..., str]) -> None:
    create = ("podling", "create", "--userns=auto", *NONE, "--name")
    makers = [shared_world.spawn(*create, f"a{number}", "bb", "true", stdout=subprocess.DEVNULL) for number in range(4)]
    assert [maker.wait() for maker in makers] == [0, 0, 0, 0]
    maps = podling("inspect", "--format", "{{.HostConfig.IDMappings.UidMap}}", "a0", "a1", "a2", "a3").split()
    assert sorted(maps) == ["[0:1000000:1024]", "[0:1001024:1024]", "[0:1002048:1024]", "[0:1003072:1024]"]
    said = podling("create", "--userns=auto", "bb", "true", status=125)
    assert "not enough unused IDs in user namespace" in said
    assert podling("run", "--rm", *NONE, "--userns=auto:size=904", "bb", "cat", "/proc/self/uid_map").split() == ["0", "1004096", "904"]
    podling("rm", "a1")
    said = podling("run", "--rm", *NONE, "--userns=auto", "bb", "cat", "/proc/self/uid_map")
    assert f"[{':'.join(said.split())}]" == maps[1]
    podling("rm", "a0", "a2", "a3")
    podmans = shared_world.path("/var/lib/containers/storage/overlay-containers")
    podmans.mkdir(parents=True)
    taken = [{"container_id": 0, "host_id": 1000000, "size": 100}]
    (podmans / "containers.json").write_text(json.dumps([{"id": "x", "uidmap": taken}, {"id": "y"}]), encoding="ascii")
    assert podling("run", "--rm", *NONE, "--userns=auto:size=9", "bb", "cat", "/proc/self/uid_map").split() == ["0", "1000100", "9"]
    (podmans / "containers.json").unlink()
    assert podling("run", "--rm", *NONE, "bb", "cat", "/proc/self/gid_map", env={"PODMAN_USERNS": "auto:size=7"}).split() == [
        "0", "1000000", "7"]
    assert podling("run", "--rm", *NONE, "--userns=auto", "-u", "3000", "bb", "sh", "-c", "id -u; cat /proc/self/uid_map").split() == [
        "3000", "0", "1000000", "3001"]
    said = podling("run", "--rm", *NONE, "--userns=auto:size=9", "-u", "9", "bb", "true", status=126)
    assert "does not exist in its user namespace" in said


def test_other_modes(shared_world: World, podling: Callable[..., str], runtime: str) -> None:
    run = ("--runtime", runtime, "run", "--rm", *NONE)
    show = ("cat", "/proc/self/uid_map")
    assert podling(*run, "--userns=keep-id", "bb", *show).split() == ["0", "0", "4294967295"]
    assert podling(*run, "--userns=keep-id:uid=7", "bb", "id", "-u") == "7\n"
    assert podling(*run, "--userns=host", "bb", *show).split() == ["0", "0", "4294967295"]
    podling("create", "--name", "model", "bb")
    podling("commit", "-q", "-c", "WORKDIR /new/dir", "model", "placed")
    assert podling(*run, *MAP, "-u", "7:8", "placed", "stat", "-c", "%u:%g", "/new", "/new/dir").split() == ["0:0", "7:8"]
    podling("rm", "model")
    assert "httpd" not in podling(*run, *MAP, "--pid", "host", "bb", "ps")       # binds /proc, whose mounts must not come back to the host
    assert podling(*run, "--subuidname", "containers", "bb", *show).split() == ["0", "1000000", "5000"]
    podling("--runtime", runtime, "run", "-d", "--name", "c", "--userns=auto", "bb", "sleep", "1000")
    own = podling("exec", "c", "readlink", "/proc/self/ns/user")
    joined = ("readlink", "/proc/self/ns/user")
    assert podling(*run, "--userns=container:c", "bb", *joined) == own
    assert podling("--runtime", runtime, "run", "--rm", "--userns=container:c", "--network=container:c", "bb", "ls",
                   "/sys/class/net").split() == ["eth0", "lo"]
    pid = podling("inspect", "--format", "{{.State.Pid}}", "c").strip()
    said = podling(*run, f"--userns=ns:/proc/{pid}/ns/user", "bb", "sh", "-c", "readlink /proc/self/ns/user; stat -c %u /home/web")
    assert said == own + "101\n"
    for flags in (("--uidmap", "0:5000:9"), ()):
        said = podling("--runtime", runtime, "run", "--rm", *flags, "--network=container:c", "bb", "ip", "addr", "show", "eth0")
        assert "inet 10.88." in said
    joining = ("--runtime", runtime, "run", "--rm", "--uidmap", "0:5000:9", "--uts=container:c", "bb", "true")
    assert "runc cannot join the uts namespace" in podling(*joining, status=126) if runtime == "runc" else podling(*joining) == ""
    podling("create", "--name", "d", "--userns=container:c", "bb", "true")
    assert podling("inspect", "--format", "{{.HostConfig.UsernsMode}}", "d").startswith("container:")
    assert "dependent containers" in podling("rm", "-f", "-t", "0", "c", status=125)
    podling("rm", "d")
    podling("rm", "-f", "-t", "0", "c")
    shared_world.assert_nothing_left()


def test_owners_of_mounts(shared_world: World, podling: Callable[..., str], runtime: str) -> None:
    world, run = shared_world, ("--runtime", runtime, "run", "--rm", *NONE)
    world.run("sh", "-ec", "rm -rf /run/d; mkdir -p /run/d/e; echo f >/run/d/f; chown 3:4 /run/d/f; ln -s /etc/shadow /run/d/l")
    show = ("sh", "-c", "cd /d; stat -c %u:%g . e f l")
    assert podling(*run, *MAP, "-v", "/run/d:/d:idmap", "bb", *show).split() == ["0:0", "0:0", "3:4", "0:0"]
    assert podling(*run, "-v", "/run/d:/d:idmap=uids=0-50-9;gids=0-60-9", "bb", *show).split() == ["50:60", "50:60", "53:64", "50:60"]
    assert podling(*run, *MAP, "-v", "/run/d:/d:idmap=uids=@0-50-9;gids=@0-60-9", "bb", *show).split() == [
        "50:60", "50:60", "53:64", "50:60"]
    podling(*run, *MAP, "-v", "/run/d:/d:idmap", "bb", "sh", "-c", "echo new >/d/new; chown 8 /d/new")
    assert owners(world, "/run/d", "/run/d/f", "/run/d/new") == ["0:0", "3:4", "8:0"]
    assert "needs a container with ids of its own" in podling(*run, "-v", "/run/d:/d:idmap", "bb", "true", status=125)
    assert podling(*run, *MAP, "-v", "/run/d:/d:U", "bbu", *show).split() == ["101:102"] * 4
    assert owners(world, "/run/d", "/run/d/e", "/run/d/f", "/run/d/l") == ["70101:80102"] * 4
    assert owners(world, "/etc/shadow") == ["0:42"]
    assert podling(*run, "-v", "/run/d:/d:U", "bb", *show).split() == ["0:0"] * 4
    assert "chowning host path" in podling(*run, "-v", "/run:/d:U", "bb", "true", status=126)
    assert podling(*run, *MAP, "--tmpfs", "/t:U", "-u", "web", "bb", "stat", "-c", "%u", "/t") == "101\n"
    volume = f"{GRAPHROOT}/volumes/v{runtime}/_data"
    assert podling(*run, *MAP, "-v", f"v{runtime}:/home/web", "bb", "stat", "-c", "%u:%g", "/home/web", "/home/web/f").split() == [
        "101:102", "101:102"]
    assert owners(world, volume, f"{volume}/f") == ["70101:80102"] * 2
    assert podling(*run, "-v", f"v{runtime}:/v:U", "bb", "stat", "-c", "%u:%g", "/v/f") == "0:0\n"
    assert podling(*run, *MAP, "--mount", "type=image,src=bb,dst=/i", "bb", "stat", "-c", "%u:%g", "/i/home/web") == "101:102\n"
    podling("volume", "rm", f"v{runtime}")
    world.assert_nothing_left()


def test_copies_where_layers_cannot_be_idmapped(shared_world: World, podling: Callable[..., str]) -> None:
    """The driver vfs has nothing to map: the container's own copy gets the owners."""
    vfs = ("--root", "/var/lib/containers/vfs", "--runroot", "/run/vfs", "--storage-driver", "vfs")
    shared_world.run("sh", "-c", f"podling save bb | podling {' '.join(vfs)} load -q")
    assert podling(*vfs, "run", "--name", "c", *MAP, *NONE, "bb", "sh", "-c", "stat -c %u:%g / /home/web; touch /new").split() == [
        "0:0", "101:102"]
    assert podling(*vfs, "diff", "c").split() == ["A", "/new"]
    podling(*vfs, "system", "reset", "-f")


def test_killed_commands_leave_nothing(shared_world: World, podling: Callable[..., str]) -> None:
    seed, world = random.Random(5), shared_world
    for _ in range(12):
        process = world.spawn("podling", "run", "-d", "--userns=auto", "-p", "8080:80", "bb", "sleep", "100", start_new_session=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seed.uniform(0.0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        podling("rm", "-af", "-t", "0")
    podling("run", "-d", "--name", "c", "--userns=auto", "bb", "sleep", "100")
    state = json.loads(podling("inspect", "c"))[0]["State"]
    for pid in (state["ConmonPid"], state["Pid"]):
        world.run("kill", "-9", str(pid))
    podling("rm", "-f", "-t", "0", "c")
    world.assert_nothing_left()


@pytest.mark.parametrize(("flags", "words"), [
    (("--userns=nomap",), "nomap is only supported in rootless mode"),
    (("--userns=auto", "--uidmap", "0:1:2"), "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive"),
    (("--userns=ns:/nowhere",), "cannot find specified user namespace path: stat /nowhere: no such file or directory"),
    (("--userns=private",), "must provide at least one UID or GID mapping to configure a user namespace"),
    (("--subuidname", "nobodyhere"), 'no subuid ranges found for user "nobodyhere" in /etc/subuid'),
    (("--uidmap", "1:70000:10"), "container ID 0 cannot be mapped to a host ID"),
])
def test_words_of_what_cannot_be(podling: Callable[..., str], flags: tuple[str, ...], words: str) -> None:
    assert podling("create", *flags, "bb", "true", status=125).startswith(f"Error: {words}")
    assert podling("ps", "-aq") == ""
