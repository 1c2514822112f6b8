"""What the texts of /proc say of control groups: samples of version 1, hybrid, version 2, and inside containers."""

from __future__ import annotations

import pytest

from podling.linux import cgroups
from podling.linux.cgroups import Hierarchies, Place, parse_cgroup, parse_mountinfo

V2 = """\
22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
V1 = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,seclabel,memory
35 31 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
"""
HYBRID = V1 + "36 31 0:33 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
IN_CONTAINER_V1 = """\
40 39 0:31 /docker/abc /sys/fs/cgroup/memory ro master:11 - cgroup cgroup rw,memory
41 39 0:32 /docker/abc /sys/fs/cgroup/pids ro master:12 - cgroup cgroup rw,pids
"""


@pytest.mark.parametrize(("text", "layout"), [(V2, "v2"), (V1, "v1"), (HYBRID, "hybrid"), (IN_CONTAINER_V1, "v1"), ("", "v1")])
def test_layout(text, layout):
    assert parse_mountinfo(text).layout == layout


def test_a_second_mount_elsewhere_does_not_change_v2():
    text = V2 + "90 22 0:31 / /mnt/v1 rw - cgroup cgroup rw,net_cls\n"
    assert parse_mountinfo(text) == Hierarchies(layout="v2", places={"": Place(point="/sys/fs/cgroup")})


def test_only_a_v2_mount_anywhere_is_v2():
    assert parse_mountinfo("90 22 0:31 / /cg rw - cgroup2 none rw\n").layout == "v2"


def test_controllers_of_v1_share_a_mount():
    found = parse_mountinfo(HYBRID)
    assert cgroups.controllers(found) == ("cpu", "cpuacct", "memory", "pids")
    assert found.directory("cpu", "/a") == found.directory("cpuacct", "/a") == "/sys/fs/cgroup/cpu,cpuacct/a"
    assert found.directory("name=systemd", "/") == "/sys/fs/cgroup/systemd"
    assert found.directory("blkio", "/a") is None
    assert found.directories("a/b") == ["/sys/fs/cgroup/systemd/a/b", "/sys/fs/cgroup/cpu,cpuacct/a/b",
                                        "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/pids/a/b", "/sys/fs/cgroup/unified/a/b"]


def test_every_controller_of_v2_is_in_one_place():
    found = parse_mountinfo(V2)
    assert found.directory("memory", "/x.slice/y.scope") == "/sys/fs/cgroup/x.slice/y.scope"
    assert found.directories("/x") == ["/sys/fs/cgroup/x"]


def test_a_part_of_the_hierarchy_is_mounted_in_a_container():
    found = parse_mountinfo(IN_CONTAINER_V1)
    assert found.directory("memory", "/docker/abc") == "/sys/fs/cgroup/memory"
    assert found.directory("memory", "/docker/abc/inner") == "/sys/fs/cgroup/memory/inner"
    assert found.directory("memory", "/docker/abcd") == "/sys/fs/cgroup/memory/docker/abcd"


def test_the_mount_below_sys_is_preferred():
    text = "50 1 0:31 / /other rw - cgroup cgroup rw,memory\n" + V1
    assert parse_mountinfo(text).directory("memory", "/") == "/sys/fs/cgroup/memory"


def test_blanks_in_mount_points_are_undone():
    assert parse_mountinfo(r"50 1 0:31 / /my\040cg rw - cgroup2 x rw").places[""].point == "/my cg"


def test_cgroup_of_a_process():
    v1 = "9:name=systemd:/user.slice\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/user.slice/session\n"
    assert parse_cgroup(v1) == {"name=systemd": "/user.slice", "memory": "/a/b", "cpu": "/c", "cpuacct": "/c",
                                "": "/user.slice/session"}
    assert parse_cgroup("0::/machine.slice/x (deleted)\n") == {"": "/machine.slice/x"}
    assert parse_cgroup("1:cpu:/with:colon\n") == {"cpu": "/with:colon"}


def test_one_cgroup_stands_for_a_process():
    assert cgroups.main_cgroup({"": "/u", "pids": "/p"}, "v2") == "/u"
    assert cgroups.main_cgroup({"": "/u", "cpu": "/c", "pids": "/p"}, "hybrid") == "/p"
    assert cgroups.main_cgroup({}, "v1") == "/"


@pytest.mark.parametrize("action", [cgroups.kill, cgroups.remove, lambda name: cgroups.freeze(name, True)])
@pytest.mark.parametrize("name", ["", "/", "//"])
def test_the_whole_system_is_never_touched(action, name):
    with pytest.raises(ValueError, match="root cgroup"):
        action(name)


# --- readings, from directories that look like cgroups ----------------------------------------------------------------


def test_usage_of_v2(tmp_path):
    for name, text in {"cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n", "memory.current": "4096\n",
                       "memory.max": "max\n", "pids.current": "3\n", "pids.max": "50\n",
                       "io.stat": "254:0 rbytes=10 wbytes=20 rios=1\n8:0 rbytes=1 wbytes=2\n",
                       "memory.events": "low 0\noom 2\noom_kill 1\n"}.items():
        (tmp_path / name).write_text(text)
    found = Hierarchies(layout="v2", places={"": Place(point=str(tmp_path))})
    assert cgroups.usage("/", found) == cgroups.Usage(cpu=1_500_000, cpu_system=500_000, memory=4096, memory_limit=None, pids=3,
                                                      pids_limit=50, block_read=11, block_write=22, oom_kills=1)


def test_usage_of_v1(tmp_path):
    files = {"memory/c/memory.usage_in_bytes": "8192\n", "memory/c/memory.limit_in_bytes": "9223372036854771712\n",
             "memory/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", "cpuacct/c/cpuacct.usage": "77\n",
             "cpuacct/c/cpuacct.stat": "user 5\nsystem 2\n", "pids/c/pids.current": "2\n", "pids/c/pids.max": "max\n",
             "blkio/c/blkio.throttle.io_service_bytes_recursive": "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = Hierarchies(layout="v1", places={name: Place(point=f"{tmp_path}/{name}")
                                             for name in ("memory", "cpuacct", "pids", "blkio")})
    usage = cgroups.usage("/c", found)
    assert (usage.cpu, usage.memory, usage.memory_limit, usage.pids, usage.pids_limit) == (77, 8192, None, 2, None)
    assert (usage.block_read, usage.block_write, usage.oom_kills) == (5, 6, 4)
    assert usage.cpu_system > 0


def test_usage_of_a_cgroup_that_is_gone_is_zero(tmp_path):
    found = Hierarchies(layout="v2", places={"": Place(point=str(tmp_path))})
    assert cgroups.usage("/gone", found) == cgroups.Usage()
    assert cgroups.processes("/gone", found) == []


def test_processes_are_those_of_the_tree(tmp_path):
    (tmp_path / "c/inner").mkdir(parents=True)
    (tmp_path / "c/cgroup.procs").write_text("30\n4\n")
    (tmp_path / "c/inner/cgroup.procs").write_text("0\n7\n")
    found = Hierarchies(layout="v2", places={"": Place(point=str(tmp_path))})
    assert cgroups.processes("/c", found) == [4, 7, 30]
