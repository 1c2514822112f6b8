"""An ordinary user's containers with ids of their own: each mode, the user's own files, networks, copies of layers, what stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import CHECKOUT
from tests.support.users import FIRST, HOME, SIZE, UID

if TYPE_CHECKING:
    from tests.support.sandbox import World
    from tests.support.users import User

NONE = ("--network", "none")
MAPPED = f"{HOME}/.local/share/containers/podling/mapped"
SHOW = "cat /proc/self/uid_map"
SERVE = "mkdir /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w"
CLOSED = ("/lost+found", "/var/lib/private", "/var/lib/machines", "/root")       # to everybody but the host's root
_WEB = "echo 'web:x:101:102::/home/web:/bin/sh' >>/etc/passwd; mkdir -p /home/web; echo w >/home/web/f; chown -R 101:102 /home/web"


@pytest.fixture(scope="module")
def web(user: User) -> User:
    """The user, with images bb and bbu, the second with a USER line; its home is closed to others, as on most distributions."""
    user.podling("run", "--name", "mk", *NONE, "bb", "sh", "-c", _WEB)
    user.podling("commit", "-q", "mk", "bb")
    user.podling("commit", "-q", "-c", "USER web", "mk", "bbu")
    user.podling("rm", "mk")
    user.world.run("sh", "-ec", f"chmod 700 {HOME}; mkdir {HOME}/data; chown {UID}:{UID} {HOME}/data")
    return user


def stages(user: User) -> list[str]:
    """What is mounted in the user's namespace so that containers' roots reach their file systems."""
    found = []
    for pid in user.holders():
        for line in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines():
            point = line.split()[4]
            if point.startswith((*CLOSED, "/tmp/podling-")):
                found.append(point)
    return found


def empty_tmp(world: World) -> None:
    """A /tmp of the world's own; where this checkout is below /tmp it is still at its place."""
    world.run("sh", "-ec", f"""
        mkdir /run/checkout
        mount --bind '{CHECKOUT}' /run/checkout
        mount -t tmpfs -o mode=1777 tmpfs /tmp
        case '{CHECKOUT}' in /tmp/*) mkdir -p '{CHECKOUT}'; mount --bind /run/checkout '{CHECKOUT}' ;; esac
        umount /run/checkout
        rmdir /run/checkout""")


def in_tmp(world: World) -> list[str]:
    """What is in /tmp but for the checkout."""
    return [path.name for path in world.path("/tmp").iterdir() if path.name not in CHECKOUT.parts[2:3]]


def assert_nothing_left(user: User) -> None:
    """Also nothing that containers' roots reached."""
    user.world.wait_until(lambda: not stages(user), f"{stages(user)} are unmounted", timeout=60)
    user.assert_nothing_left()


def numbers(*spans: tuple[int, int, int]) -> list[str]:
    return [str(number) for span in spans for number in span]


def test_each_mode(web: User, runtime: str) -> None:
    run = ("--runtime", runtime, "run", "--rm", *NONE)
    rest = (UID + 1, UID + 1, SIZE - UID)
    kept = numbers((0, 1, UID), (UID, 0, 1), rest)
    assert web.podling(*run, "--userns=keep-id", "bb", "sh", "-c", f"id -un; id -gn; {SHOW}").split() == ["tester", "tester", *kept]
    assert web.podling(*run, "--userns=keep-id", "bbu", "sh", "-c", f"id -un; id -G; {SHOW}").split() == ["web", "102", str(UID), *kept]
    assert web.podling(*run, "--userns=keep-id", "--user", "0", "bb", "id", "-u") == "0\n"
    assert web.podling(*run, "--userns=keep-id:uid=200,gid=210", "bb", "sh", "-c", f"id -u; id -g; {SHOW}").split() == [
        "200", "210", *numbers((0, 1, 200), (200, 0, 1), (201, 201, SIZE - 200))]
    assert web.podling(*run, "--userns=nomap", "bb", "sh", "-c", SHOW).split() == numbers((0, 1, SIZE))
    assert web.podling(*run, "--userns=auto", "bb", "sh", "-c", SHOW).split() == numbers((0, 1, 1024))
    assert web.podling(*run, "--userns=host", "bb", "sh", "-c", SHOW).split() == numbers((0, UID, 1), (1, FIRST, SIZE))
    assert_nothing_left(web)


def test_ids_that_are_said(web: User) -> None:
    run = ("run", "--rm", *NONE)
    assert web.podling(*run, "--userns=auto:size=2000,uidmapping=0:5:1", "bb", "sh", "-c", SHOW).split() == numbers(
        (0, 5, 1), (1, 6, 1999))
    assert web.podling(*run, "--uidmap", "0:1:100", "bb", "sh", "-c", SHOW).split() == numbers((0, 1, 100))
    assert web.podling(*run, "--uidmap", f"0:@{FIRST + 7}:9", "bb", "sh", "-c", SHOW).split() == numbers((0, 8, 9))
    assert web.podling(*run, "--uidmap", "+5:0:1", "bb", "sh", "-c", SHOW).split() == numbers((0, 1, 5), (5, 0, 1), (6, 6, SIZE - 5))
    assert web.podling(*run, "--subuidname", "tester", "bb", "sh", "-c", SHOW).split() == numbers((0, 1, SIZE))
    assert web.podling(*run, "bb", "id", "-un", env={"PODMAN_USERNS": "keep-id"}) == "tester\n"
    web.world.path(f"{HOME}/userns.conf").write_text('[containers]\nuserns = "nomap"\n', encoding="ascii")
    configured = {"CONTAINERS_CONF_OVERRIDE": f"{HOME}/userns.conf"}
    assert web.podling(*run, "bb", "sh", "-c", SHOW, env=configured).split() == numbers((0, 1, SIZE))


def test_bind_mount_of_the_users_own(web: User, runtime: str) -> None:
    """An image with a USER line uses the user's directory by one flag, which the error without it names."""
    run = ("--runtime", runtime, "run", "--rm", *NONE, "-v", f"{HOME}/data:/d")
    said = web.podling(*run, "bbu", "touch", "/d/f", status=1)
    flag = "--userns=keep-id:uid=101,gid=102"
    assert f"{HOME}/data, which is yours: {flag} lets it act as you" in said
    assert web.podling(*run, flag, "bbu", "sh", "-c", "touch /d/f; stat -c %u:%g /d /d/f").split() == ["101:102", "101:102"]
    assert web.podling(*run, "--userns=keep-id", "bb", "sh", "-c", "touch /d/g; stat -c %U /d/g") == "tester\n"
    assert {(web.world.path(f"{HOME}/data") / name).stat().st_uid for name in ("f", "g")} == {UID}
    assert web.podling(*run, "--userns=auto", "bb", "stat", "-c", "%u", "/d") == "65534\n"
    web.podling(*run[:-1], f"{HOME}/data:/d:U", "--userns=auto", "-u", "web", "bb", "sh", "-c", "touch /d/h; rm /d/f")
    assert {path.stat().st_uid for path in web.world.path(f"{HOME}/data").iterdir()} == {FIRST + 101}
    web.podling(*run[:-1], f"{HOME}/data:/d:U", "bb", "sh", "-c", "rm /d/*")
    assert web.world.path(f"{HOME}/data").stat().st_uid == UID
    said = web.podling(*run[:-1], f"{HOME}/data:/d:idmap", "--userns=auto", "bb", "true", status=125)
    assert "nobody but the host's root" in said


@pytest.mark.parametrize(("runtime", "network"), [("runc", "slirp4netns"), ("crun", "bridge"), ("crun", "pasta")])
def test_published_port(web: User, runtime: str, network: str) -> None:
    web.podling("--runtime", runtime, "run", "-d", "--name", "n", "--userns=auto", "--network", network, "-p", "8081:80",
                "bb", "sh", "-c", SERVE)
    fetch = ("sh", "-c", "for host in 127.0.0.1 198.51.100.2; do curl -sf http://$host:8081 && exit; done")
    web.world.wait_until(lambda: web.world.run(*fetch, check=False).stdout == "hello\n", "the page")
    assert web.podling("exec", "-u", "web", "n", "sh", "-c", "id -un; cat /w/index.html") == "web\nhello\n"
    assert web.podling("top", "n", "user", "huser").splitlines()[1].split() == ["root", str(FIRST)]
    web.podling("restart", "-t", "0", "n")
    web.world.wait_until(lambda: web.world.run(*fetch, check=False).stdout == "hello\n", "the page")
    web.podling("rm", "-f", "-t", "0", "n")
    assert_nothing_left(web)


def test_owners_of_what_leaves_the_container(web: User) -> None:
    web.podling("run", "-d", "--name", "c", "--userns=auto", *NONE, "bb", "sleep", "1000")
    web.podling("exec", "c", "sh", "-c", "touch /x; chown 5:6 /x; chown 7 /home")
    web.podling("commit", "-q", "c", "made")
    assert web.podling("run", "--rm", *NONE, "made", "stat", "-c", "%u:%g", "/x", "/home", "/home/web").split() == ["5:6", "7:0", "101:102"]
    assert web.podling("run", "--rm", *NONE, "--userns=auto", "made", "stat", "-c", "%u:%g", "/x").split() == ["5:6"]
    web.podling("cp", "c:/x", f"{HOME}/x")
    assert web.world.path(f"{HOME}/x").stat().st_uid == UID
    web.podling("stop", "-t", "0", "c")
    web.podling("cp", f"{HOME}/x", "c:/y")
    web.podling("start", "c")
    assert web.podling("exec", "c", "stat", "-c", "%u:%g", "/y") == "0:0\n"
    assert web.podling("diff", "c").split("\n")[-3:] == ["A /x", "A /y", ""]
    web.podling("rm", "-f", "-t", "0", "c")
    web.podling("rmi", "made")


def test_containers_with_the_same_ids_share_copies(web: User) -> None:
    web.podling("create", "--name", "a", *NONE, "--userns=keep-id", "bb", "true")
    web.podling("create", "--name", "b", *NONE, "--userns=keep-id", "bb", "true")
    web.podling("start", "a")
    first = {path.name: path.stat().st_ino for path in web.world.path(MAPPED).iterdir()}
    web.podling("start", "b")
    assert {path.name: path.stat().st_ino for path in web.world.path(MAPPED).iterdir()} == first
    web.podling("rm", "a", "b")
    keys = {name.partition("-")[0] for name in first}
    assert {path.name for path in web.world.path(MAPPED).parent.joinpath("layers").iterdir()} >= keys
    web.podling("run", "--name", "c", *NONE, "bb", "sh", "-c", "rm -r /home /etc/group; mkdir /home; touch /a; ln /a /b; mkfifo /p")
    web.podling("commit", "-q", "c", "extra")
    web.podling("rm", "c")
    said = web.podling("run", "--rm", *NONE, "--userns=keep-id", "extra", "sh", "-c", "ls /home; cat /etc/group; test -p /p; stat -c %h /a")
    assert said.split() == [f"tester:x:{UID}:tester", "2"], "what the layer deletes stays deleted in its copy"
    assert len(set(web.world.path(MAPPED).iterdir())) > len(first)
    web.run("mkdir", f"{MAPPED}/.tmp-of-a-killed-command")
    web.podling("rmi", "extra")
    assert {path.name: path.stat().st_ino for path in web.world.path(MAPPED).iterdir()} == first


def test_joined_namespaces(web: User, runtime: str) -> None:
    web.podling("--runtime", runtime, "run", "-d", "--name", "c", *NONE, "--userns=keep-id", "bb", "sleep", "1000")
    own = web.podling("exec", "c", "readlink", "/proc/self/ns/user")
    run = ("--runtime", runtime, "run", "--rm", *NONE)
    assert web.podling(*run, "--userns=container:c", "bb", "sh", "-c", "readlink /proc/self/ns/user; id -u") == own + "0\n"
    pid = web.podling("inspect", "--format", "{{.State.Pid}}", "c").strip()
    assert web.podling(*run, f"--userns=ns:/proc/{pid}/ns/user", "bb", "readlink", "/proc/self/ns/user") == own
    found = json.loads(web.podling("inspect", "c"))[0]
    assert (found["Config"]["User"], found["HostConfig"]["UsernsMode"]) == (f"{UID}:{UID}", "private")
    said = web.podling("create", "--userns=auto", "bb", "true", status=125)
    assert "not enough unused IDs in user namespace" in said
    web.podling("rm", "-f", "-t", "0", "c")


def test_killed_commands_and_a_restart_leave_nothing(web: User) -> None:
    seed = random.Random(6)
    for _ in range(8):
        command = web.spawn("podling", "run", "-d", "--userns=auto", "bb", "sleep", "100", start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seed.uniform(0.0, 0.6))
        os.killpg(command.pid, signal.SIGKILL)
        command.wait()
        web.podling("rm", "-af", "-t", "0")
    assert_nothing_left(web)


def test_strangers_cannot_be_in_the_way(fresh_user: User, runtime: str) -> None:
    """Nothing that another user may make has a name that can be foreseen."""
    world = fresh_user.world
    empty_tmp(world)
    name = fresh_user.podling("--runtime", runtime, "create", "--name", "c", *NONE, "--userns=auto", "bb", "sleep", "1000").strip()
    world.run("setpriv", "--reuid", "4343", "--clear-groups", "sh", "-ec", f"""
        for place in /tmp /var/tmp /dev/shm /run/lock; do
            if [ -w $place ]; then mkdir -m 700 $place/podling-{name} $place/{name}; fi
        done""")
    fresh_user.podling("start", "c")
    assert fresh_user.podling("exec", "c", "id", "-u") == "0\n"
    assert len(in_tmp(world)) == 2, "nothing is added"
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    world.run("sh", "-c", f"rmdir /*/podling-{name} /*/{name} /var/tmp/*{name} /dev/shm/*{name} /run/lock/*{name} 2>/dev/null || true")
    assert_nothing_left(fresh_user)


def test_host_where_nothing_is_closed(fresh_user: User, runtime: str) -> None:
    """Then the root file systems are reached below /tmp, and nothing is left there either."""
    world = fresh_user.world
    empty_tmp(world)
    world.run("sh", "-ec", f"for place in {' '.join(CLOSED)}; do if [ -d $place ]; then mount -t tmpfs tmpfs $place; fi; done")
    run = ("--runtime", runtime, "run", *NONE, "--userns=auto")
    fresh_user.podling(*run, "-d", "--name", "c", "bb", "sleep", "1000")
    assert fresh_user.podling(*run, "--rm", "bb", "sh", "-c", SHOW).split() == numbers((0, 1025, 1024))
    assert fresh_user.podling("exec", "c", "sh", "-c", SHOW).split() == numbers((0, 1, 1024))
    assert len(in_tmp(world)) == 1
    pid = fresh_user.podling("inspect", "--format", "{{.State.Pid}}", "c").strip()
    for monitor in world.processes():        # with all of them the user's namespaces end
        os.kill(monitor, signal.SIGKILL)
    world.run("kill", "-9", pid)
    world.wait_until(lambda: not world.processes(), "they end")
    fresh_user.podling("start", "c")
    assert fresh_user.podling("exec", "c", "id", "-u") == "0\n"
    fresh_user.podling("rm", "-f", "-t", "0", "c")
    world.wait_until(lambda: not in_tmp(world), "the directory is gone")
    assert not [point for point in stages(fresh_user) if point.startswith("/tmp")]


def test_restart_of_the_host(fresh_user: User) -> None:
    fresh_user.podling("run", "-d", "--name", "c", "--pid", "host", *NONE, "--userns=auto", "bb", "sh", "-c", "sleep 1000 & wait")
    fresh_user.world.reboot()                # for --pid host: see test_reboot in test_namespace.py
    fresh_user.log_in()
    assert fresh_user.podling("start", "c") == "c\n"
    assert fresh_user.podling("exec", "c", "sh", "-c", SHOW).split() == numbers((0, 1, 1024))
    fresh_user.podling("rm", "-f", "-t", "0", "c")
