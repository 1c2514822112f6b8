"""The system call filter: compiled once, in force in containers and in commands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]


@pytest.fixture
def loaded(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-i", str(busybox))
    return world


def test_filter_is_in_force(loaded: World, runtime: str) -> None:
    base = ("podling", "--runtime", runtime, "run", "--network", "none")
    assert "Seccomp:\t2" in loaded.run(*base, "--rm", "bb", "cat", "/proc/self/status").stdout
    free = loaded.run(*base, "--rm", "--security-opt", "seccomp=unconfined", "bb", "cat", "/proc/self/status").stdout
    assert "Seccomp:\t0" in free
    loaded.run(*base, "-d", "--name", "c", "bb", "sleep", "1000")
    assert "Seccomp:\t2" in loaded.run("podling", "exec", "c", "cat", "/proc/self/status").stdout
    loaded.run("podling", "rm", "-f", "-t0", "c")


def test_filter_is_compiled_once_for_a_set_of_capabilities(loaded: World) -> None:
    base = ("podling", "--runtime", "crun", "run", "--rm", "--network", "none")
    cache = loaded.path("/var/lib/containers/podling/cache")
    for _ in range(2):
        loaded.run(*base, "bb", "true")
        assert len(list(cache.glob("seccomp-*.bpf"))) == 1
    loaded.run(*base, "--cap-add", "SYS_ADMIN", "bb", "unshare", "-u", "true")
    assert len(list(cache.glob("seccomp-*.bpf"))) == 2


def test_own_profile(loaded: World, runtime: str) -> None:
    loaded.path("/run/profile.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}')
    done = loaded.run("podling", "--runtime", runtime, "run", "--rm", "--network", "none", "--security-opt",
                      "seccomp=/run/profile.json", "bb", "mkdir", "/x", check=False)
    assert "not permitted" in done.stderr
    broken = loaded.run("podling", "run", "--rm", "--network", "none", "--security-opt", "seccomp=/run/none", "bb", "true", check=False)
    assert broken.returncode == 125
    assert "/run/none" in broken.stderr
    loaded.assert_nothing_left()


def test_damaged_cache_does_not_start_a_container_without_filter(loaded: World) -> None:
    base = ("podling", "--runtime", "crun", "run", "--rm", "--network", "none", "bb")
    loaded.run(*base, "true")
    (entry,) = loaded.path("/var/lib/containers/podling/cache").glob("seccomp-*.bpf")
    for damage in ("", "AAAA", entry.read_text(encoding="ascii")[:100]):
        entry.write_text(damage, encoding="ascii")
        done = loaded.run(*base, "cat", "/proc/self/status", check=False)
        assert done.returncode != 0 or "Seccomp:\t2" in done.stdout


def test_masked_paths(loaded: World, runtime: str) -> None:
    script = "ls /sys/firmware | wc -l; cat /proc/keys | wc -c; echo x >/proc/sys/kernel/hostname || echo refused"
    done = loaded.run("podling", "--runtime", runtime, "run", "--rm", "--network", "none", "bb", "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "refused"]
