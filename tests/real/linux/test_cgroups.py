"""Real control groups. A world has cgroups of its own, which it removes at its end."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

import pytest

from podling.linux import cgroup_moves, cgroups, process, userns


@pytest.fixture(params=["v1", "host"])
def layout_world(request):
    """A world in each layout that this machine can show."""
    return request.getfixturevalue("world" if request.param == "v1" else "host_like_world")


def name(world):
    return f"/{world.name}/podling-test"


def start(cgroup):
    """A process in the cgroup with a child of its own, and its pid."""
    reader, writer = os.pipe()
    pid = process.spawn(["sh", "-c", "read go; sleep 60 & exec sleep 61"], stdin=reader, new_session=True)
    os.close(reader)
    cgroups.enter(cgroup, pid)               # into all hierarchies, before it has a child
    os.close(writer)
    deadline = time.monotonic() + 5
    while not Path(f"/proc/{pid}/task/{pid}/children").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return pid


def test_a_cgroup_lives_and_dies(layout_world):
    cgroup = name(layout_world)

    def body():
        cgroups.make(cgroup)
        cgroups.make(cgroup)                 # idempotent
        cgroups.make(f"{cgroup}/inner/most")
        found = cgroups.hierarchies()
        existing = all(os.path.isdir(path) for path in found.directories(f"{cgroup}/inner/most"))
        removed = cgroups.remove(cgroup), cgroups.remove(cgroup)
        return existing, removed, any(os.path.exists(path) for path in found.directories(cgroup))
    assert layout_world.call(body) == (True, (True, False), False)


def test_processes_are_seen_and_killed(layout_world):
    cgroup = name(layout_world)

    def body():
        cgroups.make(f"{cgroup}/inner")
        pids = [start(cgroup), start(f"{cgroup}/inner")]
        seen = cgroups.processes(cgroup)
        of_one = cgroups.processes_of(pids[1])
        paths = set(cgroups.path_of(pids[1]).values())
        busy = False
        try:
            cgroups.remove(cgroup, timeout=0.05)
        except OSError:
            busy = True
        gone = cgroups.kill(cgroup)
        for pid in pids:
            process.wait(pid, 5)
        return set(pids) <= set(seen), set(of_one) <= set(seen) and pids[1] in of_one, f"{cgroup}/inner" in paths, busy, gone, \
            cgroups.remove(cgroup)
    assert layout_world.call(body) == (True, True, True, True, True, True)


def test_children_born_in_a_cgroup_are_killed_with_it(layout_world):
    """A process that forks as fast as it can does not get away."""
    cgroup = name(layout_world)

    def body():
        cgroups.make(cgroup)
        release, hold = os.pipe()
        pid = process.spawn(["sh", "-c", "read x; while :; do sleep 60 & sleep 0.01; done"], stdin=release)
        cgroups.enter(cgroup, pid)
        os.write(hold, b"\n")
        while len(cgroups.processes(cgroup)) < 10:
            os.sched_yield()
        emptied = cgroups.kill(cgroup)
        process.wait(pid, 5)
        cgroups.remove(cgroup)
        return emptied
    assert layout_world.call(body) is True


def test_a_frozen_cgroup_stands_still_and_can_be_killed(layout_world):
    cgroup = name(layout_world)

    def body():
        cgroups.make(cgroup)
        pid = process.spawn(["sh", "-c", "while :; do :; done"])
        cgroups.enter(cgroup, pid)
        if not cgroups.freeze(cgroup, True):
            os.kill(pid, signal.SIGKILL)
            process.wait(pid)
            return "no freezer"
        before = cgroups.usage(cgroup).cpu
        try:
            process.wait(pid, 0.1)
        except TimeoutError:
            pass
        after = cgroups.usage(cgroup).cpu
        emptied = cgroups.kill(cgroup)
        status = process.wait(pid, 5)
        cgroups.remove(cgroup)
        return after - before < 50_000_000, emptied, status
    found = layout_world.call(body)
    if found == "no freezer":
        pytest.skip("no freezer controller")
    assert found == (True, True, -signal.SIGKILL)


def test_usage_is_measured(layout_world):
    cgroup = name(layout_world)

    def body():
        cgroups.make(cgroup)
        pid = start(cgroup)
        usage = cgroups.usage(cgroup)
        cgroups.kill(cgroup)
        process.wait(pid, 5)
        cgroups.remove(cgroup)
        return usage.pids, usage.pids_limit, usage.memory_limit
    pids, pids_limit, memory_limit = layout_world.call(body)
    assert pids >= 1
    assert (pids_limit, memory_limit) == (None, None)


def test_layouts(world, host_like_world):
    assert world.call(cgroups.layout) in ("v1", "v2")
    assert host_like_world.call(cgroups.layout) == cgroups.layout()


def test_own_cgroup_is_a_path():
    assert cgroups.own_cgroup().startswith("/")
    assert set(cgroups.path_of()) == set(cgroups.path_of(os.getpid()))
    assert cgroups.path_of(4194304) == {}
    assert cgroups.processes_of(4194304) == []


def test_capabilities_of_a_world(world):
    assert world.call(userns.has_capability, "CAP_CHOWN") is True
    assert world.call(lambda: userns.is_initial(userns.uid_map())) == userns.is_initial(userns.uid_map())


def test_moves_are_quick_once_asked_for(world):
    """Kernels whose moves never wait, and a busy machine where somebody moves all the time, give the same times twice."""
    cgroup = name(world)

    def move():
        begin = time.perf_counter()
        cgroups.enter(cgroup, os.getpid())
        return time.perf_counter() - begin

    def usually(prepare):
        times = []
        for _ in range(8):
            time.sleep(0.25)                 # longer than the last one lasts
            prepare()
            time.sleep(0.06)
            times.append(move())
        return statistics.median(times)

    def body():
        cgroups.make(cgroup)
        home = cgroups.path_of()
        try:
            return usually(lambda: None), usually(cgroup_moves.keep_quick), cgroups.path_of()["pids"]
        finally:
            for kind, place in cgroups.hierarchies().places.items():
                Path(place.directory(home[kind]), "cgroup.procs").write_text(str(os.getpid()))
    cold, warm, where = world.call(body)
    assert where == cgroup                   # it stays where it is
    assert warm < max(cold / 2, 0.002), (cold, warm)


def test_a_second_thread_does_not_make_the_table_of_descriptors_wait(world):
    def body():
        cgroup_moves.keep_quick()
        status = Path("/proc/self/status").read_text()
        return int(status.partition("FDSize:")[2].split()[0]), os.sysconf("SC_OPEN_MAX")
    size, limit = world.call(body)
    assert size >= min(4096, limit)
