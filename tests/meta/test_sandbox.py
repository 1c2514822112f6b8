"""The private worlds themselves: what tests rely on when they say that nothing was left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import sandbox


def test_the_world_sees_only_itself(world):
    assert set(world.run("ls", "/run").stdout.split()) <= {"home", "lock", "user", "mount"}
    assert world.run("ls", "/var/lib/containers").stdout == ""
    assert world.run("sh", "-c", "ls /sys/class/net").stdout.split() == ["lo", "uplink0", "uplink1"]
    assert len(world.run("sh", "-c", "ls -d /proc/[0-9]*").stdout.split()) <= 3
    assert {line.rpartition(":")[2] for line in world.run("cat", "/proc/self/cgroup").stdout.splitlines()} <= {"/", "/init"}


def test_two_worlds_do_not_share_addresses(world, host_like_world):
    for each in (world, host_like_world):
        each.run("ip", "link", "add", "podman0", "type", "bridge")
    assert not os.path.exists("/sys/class/net/podman0")


def test_functions_run_in_the_world_and_their_errors_come_back(world):
    assert world.call(os.listdir, "/var/lib/containers") == []
    with pytest.raises(FileNotFoundError) as caught:
        world.call(os.listdir, "/run/absent")
    assert caught.value.filename == "/run/absent"


def test_children_are_direct_and_can_be_killed(world):
    process = world.spawn("sleep", "60")
    assert process.pid in world.processes()
    process.kill()
    assert process.wait(5) == -9
    world.assert_nothing_left()


def test_the_first_process_reaps_what_it_inherits(world):
    """A dead child that nobody waits for would hold a container's process namespace, and whoever waits for its end."""
    world.run("sh", "-c", "(setsid sh -c 'exit 3' &) ; (setsid sleep 0.05 &)")
    world.run("sh", "-c", "unshare --pid --fork --kill-child sh -c 'sleep 100 & sleep 100' & sleep 0.1; kill -9 $!")
    inherited = Path(f"/proc/{world.init}/task/{world.init}/children")
    world.wait_until(lambda: inherited.read_text(encoding="ascii") == "", "the dead are reaped")
    world.assert_nothing_left()


LEFTOVERS = {
    "mount": "mkdir /run/x; mount -t tmpfs x /run/x",
    "network namespace": "ip netns add x",
    "interface": "ip link add veth7 type veth peer name veth8",
    "firewall rule": "iptables -t nat -A PREROUTING -d 10.88.0.2 -j ACCEPT",
    "process": "setsid sleep 100 >/dev/null 2>&1 &",
    "cgroup": "cd /sys/fs/cgroup; cd pids 2>/dev/null || true; mkdir -p libpod_parent/libpod-x",
    "directory": "mkdir -p /run/containers/$(printf %064d 7)",
}


@pytest.mark.parametrize("kind", LEFTOVERS)
def test_leftovers_are_seen(world, kind):
    world.assert_nothing_left()
    world.run("sh", "-ec", LEFTOVERS[kind])
    assert any(line.startswith(kind) for line in world.left())


def test_reboot_keeps_stores_and_nothing_else(world):
    world.run("sh", "-c", "echo kept >/var/lib/containers/file; echo gone >/run/file; ip netns add x")
    world.run("sh", "-c", "setsid sleep 100 >/dev/null 2>&1 &")
    before = world.run("cat", "/proc/sys/kernel/random/boot_id").stdout
    world.reboot()
    assert world.run("cat", "/proc/sys/kernel/random/boot_id").stdout != before
    assert world.run("cat", "/var/lib/containers/file").stdout == "kept\n"
    assert "file" not in world.run("ls", "/run").stdout
    world.assert_nothing_left(ignore=lambda kind, thing: "boot_id" in thing)


def test_a_killed_test_process_leaves_no_world():
    if sandbox.why_not():
        pytest.skip(sandbox.why_not())
    code = """if True:
        import os
        from tests.support.sandbox import new_world
        world = new_world()
        print(world.init, world.name, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=sandbox.CHECKOUT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": "src"})
    init, name = done.stdout.split()
    for _ in range(500):
        if not os.path.exists(f"/proc/{init}"):
            break
        subprocess.run(["sleep", "0.01"])
    assert not os.path.exists(f"/proc/{init}")
    sandbox.remove_cgroups(name)


@pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman (`make setup` installs it)")
def test_podman_runs_in_a_world_and_leaves_nothing(world, runtime, tmp_path):
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    subprocess.run(["tar", "-C", root, "-cf", tmp_path / "root.tar", "."], check=True)
    world.podman("import", "-q", str(tmp_path / "root.tar"), "bb")
    said = world.podman("--runtime", runtime, "run", "--rm", "-p", "8080:80", "bb", "/bin/sh", "-c", "echo hello").stdout
    assert said == "hello\n"
    world.assert_nothing_left(ignore=lambda kind, thing: kind in ("mount", "directory") and "storage/overlay" in thing)


def test_the_script_is_executable():
    assert os.access(Path(sandbox.__file__).with_suffix(".sh"), os.X_OK)
