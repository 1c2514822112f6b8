"""What Podman 5.4 says and does with options of containers that are wrong or mean nothing: its words and exit codes, as it printed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def here(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with an image and a running container, c."""
    from tests.support.busybox import busybox_archive

    shared_world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path_factory.mktemp("creating"))))
    shared_world.run("podling", "run", "-d", "--name", "c", "--network", "none", "bb", "sleep", "1000")
    yield shared_world
    shared_world.run("podling", "rm", "-f", "-t", "0", "c")


def refused(world: World, *argv: str) -> tuple[int, str]:
    """(exit code, first line of what was said) of a command that fails."""
    done = world.run("podling", *argv, check=False)
    return done.returncode, done.stderr.splitlines()[0] if done.stderr else ""


@pytest.mark.parametrize("mount", [("--mount", "type=bind,src=/nosuch,dst=/x"), ("-v", "/nosuch:/x")])
def test_a_bind_mount_of_nothing_is_refused_before_anything_is_made(here: World, mount: tuple[str, str]) -> None:
    before = here.run("podling", "ps", "-aq").stdout
    for command in ("run", "create"):
        assert refused(here, command, *mount, "-v", "fresh-volume:/y", "bb", "true") == (
            125, "Error: statfs /nosuch: no such file or directory")
    assert here.run("podling", "ps", "-aq").stdout == before
    assert "fresh-volume" not in here.run("podling", "volume", "ls", "-q").stdout


@pytest.mark.parametrize("mode", ["none", "host"])
def test_ports_without_a_network_are_discarded_with_a_word(here: World, mode: str) -> None:
    done = here.run("podling", "create", "--name", "ports", "-p", "80:80", "--net", mode, "bb", "true")
    assert done.stderr == ("Port mappings have been discarded as one of the Host, Container, Pod, and None network modes are in "
                           "use\n")
    assert here.run("podling", "port", "ports").stdout == ""
    assert here.run("podling", "inspect", "--format", "{{json .HostConfig.PortBindings}}", "ports").stdout == "{}\n"
    here.run("podling", "rm", "ports")


def test_a_weight_that_the_kernel_does_not_have_is_discarded_with_a_word(here: World) -> None:
    if here.path("/sys/fs/cgroup/blkio/blkio.weight").exists() or here.path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this kernel has a weight for block devices")
    done = here.run("podling", "create", "--name", "weighed", "--blkio-weight", "100", "bb", "true")
    assert done.stderr == "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.\n"
    assert here.run("podling", "inspect", "--format", "{{.HostConfig.BlkioWeight}}", "weighed").stdout == "0\n"
    here.run("podling", "rm", "weighed")


def test_mounts_have_the_names_that_programs_look_for(here: World) -> None:
    mounted = here.run("podling", "exec", "c", "grep", " /dev/shm ", "/proc/mounts").stdout
    assert mounted.startswith("shm /dev/shm tmpfs ")
    assert here.run("podling", "exec", "c", "readlink", "/etc/mtab").stdout == "/proc/mounts\n"
